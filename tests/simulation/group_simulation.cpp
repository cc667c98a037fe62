// SPDX-License-Identifier: MIT OR Apache-2.0
#include "simulation/group_simulation.hpp"

#include "persistence/groups.hpp"
#include "persistence/log_core.hpp"

#include "simulation/sim_disk.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::simulation {
namespace {

using detail::LogCore;
using detail::QueueCore;

constexpr std::uint64_t segment_bytes = detail::min_segment_bytes;
constexpr std::int64_t second = 1'000'000'000;
constexpr std::uint8_t attempts = 3;

/// A broken law.
struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void must(bool holds, const std::string& law) {
  if (!holds) throw Broken(law);
}

/// Both clocks. The wall may be set.
class SetClock final : public Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override {
    return std::chrono::system_clock::time_point(std::chrono::nanoseconds(wall_ns));
  }
  std::chrono::steady_clock::time_point steady() const noexcept override {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(steady_ns));
  }
  void advance(std::int64_t ns) noexcept {
    wall_ns += ns;
    steady_ns += ns;
  }
  std::int64_t wall_ns = 1'700'000'000 * second;
  std::int64_t steady_ns = 1000 * second;
};

/// A message as one group must see it.
struct Fate {
  std::uint64_t offset = 0;
  std::string key;
  bool keyed = false;  ///< its group keeps the order of keys
  int given = 0;       ///< leases
  int released = 0;    ///< of these, given back
  bool acked = false;
  bool acked_for_good = false;  ///< and that is durable
  bool may_be_acked = false;    ///< before a crash, and that may be durable
  bool dead = false;            ///< rejected, or out of attempts
  bool may_be_gone = false;     ///< with a crash, before it was durable
  bool may_expire = false;

  bool is_finished() const { return acked || may_be_acked || dead || may_be_gone || may_expire; }
};

/// A group, and what is known of it.
struct Worker {
  GroupOptions options;
  std::string member;
  std::shared_ptr<QueueCore> queue;
  std::uint16_t ids[2] = {};
  std::map<std::string, Fate> fates;  ///< by payload
  struct Held {
    Lease lease;
    std::string text;
    std::size_t who;
    std::int64_t until;
    bool called_back = false;  ///< one in front of it with its key came back, or may have
    bool is_back = false;      ///< it certainly did
  };
  std::vector<Held> held;
};

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed) : random_(seed), disk_(seed) {
    options_.clock = &clock_;
    options_.segment_bytes = segment_bytes;
    options_.uncommitted_bytes = std::size_t{64} << 10;
    options_.spare_segments = static_cast<unsigned>(random_() % 2);
    options_.sync_every = std::chrono::hours(1);
    options_.max_loss_share = 1;
    options_.max_loss_bytes = std::uint64_t{1} << 40;
    if (chance(2)) options_.retention.records = 10;
    large_ = chance(3);
    const std::size_t count = 1 + random_() % 3;
    for (std::size_t i = 0; i < count; ++i) {
      Worker& worker = workers_.emplace_back();
      worker.options = {.name = "g" + std::to_string(i),
                        .mode = static_cast<GroupMode>(1 + random_() % 3),
                        .start = GroupStart::oldest,
                        .visibility = std::chrono::seconds(10),
                        .ceiling = std::chrono::seconds(40),
                        .attempts = attempts,
                        .backoff = {std::chrono::seconds(1), std::chrono::seconds(5)},
                        .read_ahead = chance(2) ? std::size_t{100'000} : std::size_t{1 + random_() % 20},
                        .principal_read_ahead = seed % 3 == 0 ? std::size_t{25'000} : std::size_t{1 + seed / 3 % 5},
                        .read_ahead_bytes = chance(2) ? std::size_t{1} << 20 : std::size_t{0}};
      if (worker.options.mode == GroupMode::broadcast) worker.member = "m" + std::to_string(i);
    }
  }

  void run() {
    const int rounds = 4 + static_cast<int>(random_() % 3);
    for (int round = 0; round < rounds; ++round) {
      disk_.set_faults({});
      if (chance(4)) disk_.set_faults({.capacity_bytes = (2 + random_() % 4) * segment_bytes});
      if (open()) {
        join_all();
        const int steps = static_cast<int>(random_() % 60);
        if (chance(2)) disk_.power_off_after(random_() % 60);
        for (int i = 0; i < steps && !disk_.power_is_off() && !core_->read_only(); ++i) step();
      }
      end_round();
    }
    finish();
  }

 private:
  bool chance(std::uint64_t one_in) { return random_() % one_in == 0; }

  bool open() {
    auto storage = disk_.mount();
    auto opened = LogCore::open(storage, options_, LogCore::Threads::none);
    if (!opened) return false;
    core_ = std::move(*opened);
    return true;
  }

  void join_all() {
    for (Worker& worker : workers_) {
      const auto queue = core_->groups()->open(worker.options, worker.member);
      if (!queue) continue;
      worker.queue = *queue;
      for (std::uint16_t& id : worker.ids) {
        id = worker.queue->join({.in_flight_messages = static_cast<std::uint32_t>(1 + random_() % 10)});
      }
    }
  }

  /// The log is closed, or the process is killed, or the power goes.
  void end_round() {
    const bool clean = core_ != nullptr && !disk_.power_is_off() && chance(3);
    if (clean) {
      if (!core_->close()) note_durable();
    } else if (!disk_.power_is_off() && chance(3)) {
      disk_.kill();
    } else {
      CrashOptions how{.tear_sectors = chance(2), .stale_sectors = chance(2)};
      if (chance(3)) how.keep = 0.0;
      disk_.crash(how);
    }
    for (Worker& worker : workers_) {
      worker.held.clear();  // their nacks come too late
      worker.queue.reset();
      for (auto& [text, fate] : worker.fates) {
        fate.may_be_acked |= fate.acked;
        fate.acked = fate.acked_for_good;
        fate.may_be_gone |= !durable_.contains(text);
      }
    }
    core_.reset();
    if (clean) disk_.kill();
    written_.clear();  // what is not known to be durable is in doubt from now on
    if (chance(3)) clock_.wall_ns += (static_cast<std::int64_t>(random_() % 2000) - 1000) * second;  // it is set
    clock_.steady_ns = 1000 * second + static_cast<std::int64_t>(random_() % 1000);  // another boot
  }

  // --- What happens. ---

  void step() {
    if (chance(3)) return append();
    if (chance(20)) return sync();
    if (chance(10)) return core_->care();
    if (chance(6)) return clock_.advance(static_cast<std::int64_t>(random_() % (8 * second)));
    Worker& worker = workers_[random_() % workers_.size()];
    if (worker.queue == nullptr) return;
    if (chance(2)) return receive(worker);
    settle(worker);
  }

  void append() {
    const std::string text = std::to_string(sent_++) + std::string(large_ ? random_() % 9000 : 0, 'x');
    Record record{.topic = "work", .payload = as_payload(text)};
    const std::string principal = "agent." + std::to_string(random_() % 3);
    if (chance(2)) record.principal = Principal::parse(principal).value();
    const std::string key = chance(2) ? "k" + std::to_string(random_() % 3) : "";
    record.key = key;
    if (chance(6)) record.priority = static_cast<std::uint8_t>(random_() % 5);
    if (chance(10)) record.due = clock_.wall() + std::chrono::seconds(random_() % 10);
    const bool may_expire = chance(15);
    if (may_expire) record.expiry = clock_.wall() + std::chrono::seconds(random_() % 20);
    const auto durability = chance(3) ? Durability::synced : Durability::written;
    const auto ticket = core_->hand_over({&record, 1}, durability, true, nullptr);
    if (!ticket) return;
    const auto offset = core_->wait(*ticket, 1, durability, nullptr);
    if (!offset) return;
    for (Worker& worker : workers_) {
      Fate& fate = worker.fates[text];
      fate.offset = offset->offset;
      fate.keyed = worker.options.mode == GroupMode::key_ordered && !key.empty();
      fate.key = fate.keyed && !record.due ? key : "";
      fate.may_expire = may_expire;
    }
    if (durability == Durability::synced) durable_.insert(text);
    written_.insert(text);
  }

  void sync() {
    if (!core_->sync()) note_durable();
  }

  /// All that was done so far will be there after any crash.
  void note_durable() {
    for (const std::string& text : written_) durable_.insert(text);
    for (Worker& worker : workers_) {
      for (auto& [text, fate] : worker.fates) fate.acked_for_good |= fate.acked;
    }
  }

  void receive(Worker& worker) {
    const std::size_t who = random_() % 2;
    constexpr auto now = std::chrono::steady_clock::time_point::min();
    auto received = worker.queue->receive(worker.ids[who], 1 + random_() % 5, &now);
    if (!received) return;
    check_missed(received->missed);
    for (const Worker::Held& held : worker.held) {
      if (held.until <= clock_.steady_ns) call_back(worker, held);
    }
    for (Lease& lease : received->leases) {
      const std::string text(lease.record().text());
      const auto found = worker.fates.find(text);
      if (found == worker.fates.end()) {  // its append was in doubt
        (void)lease.ack();
        continue;
      }
      Fate& fate = found->second;
      must(!fate.acked_for_good, "LOG-7: a message was given whose ack was durable: " + name(text));
      must(!fate.acked, "a message was given that is acked: " + name(text));
      must(lease.attempt() >= 1 && lease.attempt() <= attempts, "an attempt beyond the last");
      ++fate.given;
      // One, the first, may not have been counted when a crash struck.
      must(fate.keyed || fate.given - fate.released <= attempts + 1,
           "LOG-7: a message was given more often than it has attempts: " + name(text));
      for (const Worker::Held& held : worker.held) {
        if (held.called_back || held.until <= clock_.steady_ns) continue;
        must(held.text != text, "LOG-8: a message is on two leases: " + name(text));
        const bool same_key = !fate.key.empty() && worker.fates[held.text].key == fate.key;
        must(!same_key || held.who == who, "a key is with two members");
      }
      const std::int64_t until = lease.deadline().time_since_epoch().count();
      worker.held.push_back({std::move(lease), text, who, until});
    }
  }

  /// What a crash has torn is missing from the log too.
  void check_missed(std::uint64_t missed) const {
    std::uint64_t torn = 0;
    for (const LogLoss& loss : core_->losses().losses) torn += loss.records;
    must(missed <= torn, "LOG-9: something was missed, and nobody dropped it");
  }

  static std::string name(const std::string& text) { return text.substr(0, text.find('x')); }

  /// What its member has of the same key behind it has come back with it.
  void call_back(Worker& worker, const Worker::Held& one, bool certainly = false) const {
    const Fate fate = worker.fates[one.text];
    if (!fate.keyed) return;
    for (Worker::Held& held : worker.held) {
      const Fate& other = worker.fates[held.text];
      // One that was not due takes its place when it is: it may be in front or behind.
      if (other.keyed && held.who == one.who && (fate.key.empty() || other.key.empty())) held.called_back = true;
      if (other.key.empty() || other.key != fate.key || held.who != one.who || other.offset < fate.offset) continue;
      held.is_back |= certainly && !held.called_back && held.until > clock_.steady_ns;
      held.called_back = true;
    }
  }

  void settle(Worker& worker) {
    if (worker.held.empty()) return;
    const std::size_t at = random_() % worker.held.size();
    Worker::Held held = std::move(worker.held[at]);
    worker.held.erase(worker.held.begin() + static_cast<std::ptrdiff_t>(at));
    Fate& fate = worker.fates[held.text];
    const bool late = held.until <= clock_.steady_ns;
    LeaseOutcome outcome{};
    switch (random_() % 8) {
      case 0:
        outcome = held.lease.release();
        if (outcome == LeaseOutcome::done) {
          ++fate.released;
          call_back(worker, held, true);
        }
        break;
      case 1:
        outcome = chance(2) ? held.lease.nack() : held.lease.nack(std::chrono::seconds(random_() % 4), "no");
        if (outcome == LeaseOutcome::done) call_back(worker, held, true);
        fate.dead |= outcome == LeaseOutcome::dead;
        break;
      case 2:
        outcome = held.lease.reject("never");
        fate.dead |= outcome == LeaseOutcome::dead;
        break;
      case 3: {
        const auto until = held.lease.extend(std::chrono::seconds(random_() % 60));
        must(!late || !until, "LOG-8: a late lease was extended");
        if (until) held.until = until->time_since_epoch().count();
        worker.held.push_back(std::move(held));
        return;
      }
      default:
        outcome = held.lease.ack();
        if (outcome == LeaseOutcome::done) note_ack(worker, fate);
    }
    must(!late || outcome == LeaseOutcome::stale || outcome == LeaseOutcome::unlogged,
         "LOG-8: a late outcome was taken");
    must(!held.is_back || outcome == LeaseOutcome::stale || outcome == LeaseOutcome::unlogged,
         "a message was finished though one in front of it with its key came back");
    if (late) call_back(worker, held);
    must(late || held.called_back || outcome != LeaseOutcome::stale, "an outcome in time was refused");
  }

  void note_ack(Worker& worker, Fate& fate) {
    fate.acked = true;
    if (fate.key.empty()) return;
    for (const auto& [text, other] : worker.fates) {
      must(other.key != fate.key || other.offset >= fate.offset || other.is_finished() || other.given > 0,
           "a key's message was acked before one in front of it was even given: " + name(text));
    }
  }

  // --- The end. ---

  /// Healthy again, all that is durable is finished, once, by an ack or as a dead letter.
  void finish() {
    disk_.set_faults({});
    options_.retention = {};
    must(open(), "LOG-5: it opens on a healthy disk");
    join_all();
    for (Worker& worker : workers_) {
      must(worker.queue != nullptr, "a group cannot be opened on a healthy disk");
      for (int idle = 0; idle < 3;) {
        clock_.advance(60 * second);
        constexpr auto now = std::chrono::steady_clock::time_point::min();
        auto received = worker.queue->receive(worker.ids[0], 10, &now);
        must(received.has_value(), "nothing can be received on a healthy disk");
        check_missed(received->missed);
        idle = received->leases.empty() ? idle + 1 : 0;
        for (Lease& lease : received->leases) {
          const std::string text(lease.record().text());
          const auto found = worker.fates.find(text);
          if (found != worker.fates.end()) {
            must(!found->second.acked_for_good, "LOG-7: a message was given whose ack was durable");
            found->second.acked = true;
          }
          must(lease.ack() == LeaseOutcome::done, "an ack is refused on a healthy disk");
        }
        must(!core_->sync(), "a healthy disk does not sync");
      }
    }
    std::map<std::string, std::multiset<std::string>> dead;
    const auto reader = detail::ReaderCore::make(*core_, {}).value();
    for (auto found = reader->next(); found->outcome() != ReadOutcome::end; found = reader->next()) {
      if (found->outcome() != ReadOutcome::record) continue;  // what a crash has torn
      const RecordView& record = reader->record();
      if (record.topic().starts_with(dead_prefix)) dead[std::string(record.topic())].emplace(record.text());
    }
    for (Worker& worker : workers_) {
      const auto& letters = dead[std::string(dead_prefix) + worker.options.name];
      for (const std::string& text : letters) {
        must(letters.count(text) == 1, "a message is twice among the dead letters: " + name(text));
      }
      for (const std::string& text : durable_) {
        const Fate& fate = worker.fates.at(text);
        const bool buried = letters.contains(text);
        must(fate.acked || buried || fate.may_expire || fate.may_be_acked,
             "LOG-7: a message is lost: " + name(text) + " for " + worker.options.name);
        must(!(fate.acked_for_good && buried), "a message was acked, and is a dead letter");
      }
    }
    send_back(dead);
  }

  /// Each dead letter becomes a message again, once, though the power goes meanwhile.
  void send_back(const std::map<std::string, std::multiset<std::string>>& dead) {
    const auto messages = [this] {
      std::map<std::string, std::size_t> count;
      const auto reader = detail::ReaderCore::make(*core_, {.patterns = {"work"}}).value();
      for (auto found = reader->next(); found->outcome() != ReadOutcome::end; found = reader->next()) {
        if (found->outcome() == ReadOutcome::record) ++count[std::string(reader->record().text())];
      }
      return count;
    };
    const auto send_all = [this] {
      bool all = true;
      for (Worker& worker : workers_) {
        const auto letters = core_->groups()->open_dead(worker.options);
        all = all && letters && (*letters)->take_dead({}, true);
      }
      return all;
    };
    auto expected = messages();
    for (const auto& [topic, letters] : dead) {
      for (const std::string& text : letters) ++expected[text];
    }
    disk_.power_off_after(random_() % 200);
    (void)send_all();
    for (Worker& worker : workers_) worker.queue.reset();
    core_.reset();
    disk_.crash({.tear_sectors = chance(2), .stale_sectors = chance(2)});
    must(open(), "LOG-5: it opens on a healthy disk");
    clock_.advance(60 * second);
    must(send_all(), "dead letters cannot be sent back on a healthy disk");
    must(messages() == expected, "a dead letter that was sent back is lost or doubled");
  }

  std::mt19937_64 random_;
  SetClock clock_;
  SimDisk disk_;
  LogOptions options_;
  std::unique_ptr<LogCore> core_;
  std::vector<Worker> workers_;
  std::uint64_t sent_ = 0;
  bool large_ = false;
  std::set<std::string> written_;  // since the log was opened
  std::set<std::string> durable_;
};

}  // namespace

std::optional<std::string> simulate_groups(std::uint64_t seed) {
  try {
    Simulation(seed).run();
    return std::nullopt;
  } catch (const Broken& broken) {
    return broken.what();
  }
}

}  // namespace bus::simulation

// SPDX-License-Identifier: MIT OR Apache-2.0
#include "self_bench.hpp"

#include "measure.hpp"
#include "text.hpp"

#include <bus/bus.hpp>
#include <bus/persistence/log.hpp>
#include <bus/routing/router.hpp>

#include <nlohmann/json.hpp>

#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>

namespace busbar {
namespace {

using bench::now_ns;
using bench::per_second;

constexpr std::size_t small = 48;     // bytes of a token with what is said about it
constexpr std::size_t medium = 256;
constexpr std::size_t large = 512;
constexpr std::uint64_t ring = 1024;  // events that a bus retains
constexpr std::uint64_t segment_bytes = std::uint64_t{16} << 20;

#if defined(__OPTIMIZE__) && defined(NDEBUG)
constexpr bool is_optimised = true;
#else
constexpr bool is_optimised = false;
#endif

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(std::string("bench: ") + what);
}

/// Measures for so many nanoseconds. Returns: a rate or a latency.
using Run = std::function<double(std::uint64_t ns)>;

struct Case {
  Measurement measurement;  ///< without its runs
  std::function<Run(const std::string&)> prepare;
};

// --- The bus ---

bus::Message small_message() {
  static const bus::Topic topic{"bench.v1.event"};
  return {topic, {}, bus::Payload::copy(std::string(small, 'x'))};
}

double publish_to_nobody(std::uint64_t ns) {
  bus::Bus hub{{.capacity = ring}};
  bus::Sender sender = hub.sender();
  std::uint64_t sent = 0;
  const std::uint64_t begin = now_ns();
  for (; (sent & 1023) != 0 || now_ns() - begin < ns; ++sent) {
    require(sender.send(small_message()).has_value(), "the bus refused an event");
  }
  return per_second(sent, now_ns() - begin);
}

/// A bus with a reader in a thread of its own, which ends when the bus is closed.
class Reader {
 public:
  template <class Take>
  Reader(bus::Bus& hub, Take take)
      : hub_(hub), receiver_(hub.subscribe("bench")), thread_([this, take] {
          while (const auto got = receiver_.recv()) {
            missed_ += got.missed();
            take(got);
            taken_.value.fetch_add(1, std::memory_order_release);
          }
        }) {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { hub_.close(); }  // or the thread would wait for ever

  /// Waits until it has all but so many of what was sent.
  void wait_for(std::uint64_t sent, std::uint64_t but) const {
    bench::Backoff backoff;
    while (sent - taken_.value.load(std::memory_order_acquire) > but) backoff.wait();
  }

  /// Ends it. Returns: how many events it missed.
  std::uint64_t end() {
    hub_.close();
    thread_.join();
    return missed_;
  }

 private:
  bus::Bus& hub_;
  bus::Receiver receiver_;
  bench::PaddedCounter taken_;
  std::uint64_t missed_ = 0;  // of the thread, until it has ended
  std::jthread thread_;
};

double publish_and_receive(std::uint64_t ns) {
  bus::Bus hub{{.capacity = ring}};
  Reader reader(hub, [](const bus::Received&) {});
  bus::Sender sender = hub.sender();
  std::uint64_t sent = 0;
  const std::uint64_t begin = now_ns();
  for (; (sent & 255) != 0 || now_ns() - begin < ns; ++sent) {
    if ((sent & 255) == 0) reader.wait_for(sent, ring / 2);  // so that nothing is lost
    require(sender.send(small_message()).has_value(), "the bus refused an event");
  }
  reader.wait_for(sent, 0);
  const std::uint64_t elapsed = now_ns() - begin;
  require(reader.end() == 0, "the bus lost an event of a publisher that waited");
  return per_second(sent, elapsed);
}

double publish_to_receipt(std::uint64_t ns) {
  bus::Bus hub{{.capacity = ring}};
  std::vector<std::uint64_t> samples;
  Reader reader(hub, [&samples](const bus::Received& got) {
    const std::uint64_t now = now_ns();
    std::uint64_t sent_ns = 0;
    std::memcpy(&sent_ns, got->get_if<bus::Message>()->payload.bytes().data(), sizeof sent_ns);
    samples.push_back(now - sent_ns);
  });
  bus::Sender sender = hub.sender();
  const bus::Topic topic{"bench.v1.event"};
  std::array<std::uint64_t, small / sizeof(std::uint64_t)> content{};
  const std::uint64_t begin = now_ns();
  for (std::uint64_t sent = 0; sent == 0 || now_ns() - begin < ns; ++sent) {
    content[0] = now_ns();
    require(sender.send(bus::Message{topic, {}, bus::Payload::copy(std::as_bytes(std::span(content)))}).has_value(),
            "the bus refused an event");
    reader.wait_for(sent + 1, 0);
  }
  require(reader.end() == 0, "the bus lost an event of a publisher that waited");
  std::ranges::sort(samples);
  return static_cast<double>(bench::percentile(samples, 0.5));
}

// --- The router ---

/// Each message is for one of many routes, whose receiver takes it at once.
double route_to_one_of_many(std::uint64_t ns) {
  constexpr std::size_t routes = 100;
  bus::Bus hub;
  bus::Router router(hub);
  std::vector<bus::RouteReceiver> receivers;
  std::vector<bus::Topic> topics;
  for (std::size_t i = 0; i < routes; ++i) {
    const std::string stem = "bench.r" + std::to_string(i);
    receivers.push_back(
        router.subscribe({.owner = "bench", .patterns = {bus::TopicPattern::parse(stem + ".>").value()}}));
    topics.push_back(bus::Topic::parse(stem + ".x").value());
  }
  auto sender = router.sender();
  const bus::Payload payload = bus::Payload::copy(std::string(small, 'x'));
  std::uint64_t sent = 0;
  const std::uint64_t begin = now_ns();
  for (; (sent & 255) != 0 || now_ns() - begin < ns; ++sent) {
    const std::size_t one = sent * 37 % routes;
    const auto outcome = sender.publish({topics[one], {}, payload});
    require(outcome.has_value() && outcome->taken == 1, "a message did not come into its route");
    require(static_cast<bool>(receivers[one].try_recv()), "a route lost its message");
  }
  return per_second(sent, now_ns() - begin);
}

/// A route that is full and that nobody reads: each message evicts another one.
Run evict_from_full_route() {
  struct Full {
    bus::Bus hub;
    bus::Router router{hub};
    bus::RouteReceiver receiver = router.subscribe({.owner = "bench", .patterns = {"bench.>"}});
    bus::RouteSender sender = router.sender();
    std::vector<bus::Principal> principals;
    bus::Payload payload = bus::Payload::copy(std::string(large, 'x'));
    bus::Topic topic{"bench.x"};
    std::uint64_t next = 0;

    void publish() {
      require(sender.publish({topic, principals[next++ % principals.size()], payload}).has_value(),
              "the router refused a message");
    }
    std::uint64_t evicted() const { return receiver.stats().lost_for(bus::Loss::evicted); }
  };
  const auto full = std::make_shared<Full>();
  for (int i = 0; i < 100; ++i) {
    full->principals.push_back(bus::Principal::parse("agent.p" + std::to_string(i)).value());
  }
  while (full->evicted() < 1000) full->publish();
  return [full](std::uint64_t ns) {
    const std::uint64_t evicted_before = full->evicted();
    std::uint64_t sent = 0;
    const std::uint64_t begin = now_ns();
    for (; (sent & 255) != 0 || now_ns() - begin < ns; ++sent) full->publish();
    const std::uint64_t elapsed = now_ns() - begin;
    require(full->evicted() - evicted_before == sent, "a full route evicted more or less than it took");
    return per_second(sent, elapsed);
  };
}

// --- The log ---

template <class T>
T value_of(bus::result<T> result) {
  if (!result) throw std::runtime_error("cannot use the log: " + result.error().message());
  return std::move(*result);
}

/// A log of a few segments, which stays as small as that.
class ScratchLog {
 public:
  explicit ScratchLog(const std::string& directory) : scratch_(directory), log_(value_of(open(scratch_.path()))) {}

  template <bus::Durability D>
  std::uint64_t append_for(std::uint64_t ns, std::size_t in_flight) {
    std::vector<bus::PendingReceipt<D>> pending;
    std::uint64_t sent = 0;
    const auto wait_for_oldest = [&](std::uint64_t number) { (void)value_of(pending[number % in_flight].wait()); };
    const std::uint64_t begin = now_ns();
    while (now_ns() - begin < ns) {
      if (sent >= in_flight) wait_for_oldest(sent);
      auto receipt = value_of(log_.submit<D>(next_record()));
      if (pending.size() < in_flight) {
        pending.push_back(std::move(receipt));
      } else {
        pending[sent % in_flight] = std::move(receipt);
      }
      ++sent;
    }
    for (std::uint64_t i = sent - std::min<std::uint64_t>(sent, in_flight); i < sent; ++i) wait_for_oldest(i);
    return sent;
  }

  void fill(std::uint64_t records) {
    for (std::uint64_t i = 0; i < records; ++i) {
      (void)value_of(log_.append<bus::Durability::buffered>(next_record()));
    }
    if (const auto fault = log_.sync()) throw std::runtime_error("cannot use the log: " + fault.message());
  }

  std::uint64_t read_all() {
    bus::LogReader reader = value_of(log_.read());
    std::uint64_t records = 0;
    while (value_of(reader.next()).outcome() == bus::ReadOutcome::record) {
      require(reader.record().payload().size() == medium, "a record of another length");
      ++records;
    }
    return records;
  }

 private:
  static bus::result<bus::Log> open(const std::filesystem::path& directory) {
    bus::LogOptions options;
    options.segment_bytes = segment_bytes;
    options.retention.bytes = 3 * segment_bytes;
    return bus::Log::open(directory, options);
  }

  /// Lifetime: until the next one.
  const bus::Record& next_record() {
    record_.payload = payload_.of(sequence_++);
    return record_;
  }

  bench::Scratch scratch_;
  bus::Log log_;
  bench::Payload payload_{medium};
  bus::Record record_{.topic = "bench.v1.record"};
  std::uint64_t sequence_ = 0;
};

template <bus::Durability D>
auto append(std::size_t in_flight) {
  return [in_flight](const std::string& directory) -> Run {
    const auto log = std::make_shared<ScratchLog>(directory);
    return [log, in_flight](std::uint64_t ns) {
      const std::uint64_t begin = now_ns();
      const std::uint64_t records = log->append_for<D>(ns, in_flight);
      return per_second(records, now_ns() - begin);
    };
  };
}

Run read_back(const std::string& directory) {
  constexpr std::uint64_t records = 10'000;
  const auto log = std::make_shared<ScratchLog>(directory);
  log->fill(records);
  return [log](std::uint64_t ns) {
    std::uint64_t read = 0;
    const std::uint64_t begin = now_ns();
    do {
      require(log->read_all() == records, "the log does not hold what was written");
      read += records;
    } while (now_ns() - begin < ns);
    return per_second(read, now_ns() - begin);
  };
}

std::vector<Case> cases() {
  using bus::Durability;
  const auto without_disk = [](auto make) { return [make](const std::string&) -> Run { return make; }; };
  return {
      {{"bus", "publish, nobody listens", 1, small, "", false, {}}, without_disk(publish_to_nobody)},
      {{"bus", "publish and receive, none lost", 2, small, "", false, {}}, without_disk(publish_and_receive)},
      {{"bus", "from publishing to receipt", 2, small, "", true, {}}, without_disk(publish_to_receipt)},
      {{"router", "publish to 1 of 100 routes, receive", 1, small, "", false, {}}, without_disk(route_to_one_of_many)},
      {{"router", "publish to a full route, evict", 1, large, "", false, {}},
       [](const std::string&) { return evict_from_full_route(); }},
      {{"log", "append, one at a time", 1, medium, "synced", false, {}}, append<Durability::synced>(1)},
      {{"log", "append, 256 in flight", 1, medium, "synced", false, {}}, append<Durability::synced>(256)},
      {{"log", "append, 256 in flight", 1, medium, "written", false, {}}, append<Durability::written>(256)},
      {{"log", "read back, from memory", 1, medium, "", false, {}}, read_back},
  };
}

std::string format(const char* pattern, double value, const char* unit) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), pattern, value, unit);
  return text.data();
}

std::string as_rate(double value) {
  const char* unit = "/s";
  for (const char* larger : {"k/s", "M/s", "G/s"}) {
    if (value < 999.5) break;
    value /= 1000;
    unit = larger;
  }
  return format(value < 9.995 ? "%.2f%s" : value < 99.95 ? "%.1f%s" : "%.0f%s", value, unit);
}

std::string as_figure(const Measurement& measurement, double value) {
  return measurement.is_latency ? as_duration(static_cast<std::uint64_t>(value)) : as_rate(value);
}

std::string row(const std::array<std::string, 8>& cells) {
  std::array<char, 160> text{};
  std::snprintf(text.data(), text.size(), "%-6s  %-36s %7s %6s  %-7s %9s %9s %9s", cells[0].c_str(), cells[1].c_str(),
                cells[2].c_str(), cells[3].c_str(), cells[4].c_str(), cells[5].c_str(), cells[6].c_str(),
                cells[7].c_str());
  return text.data();
}

}  // namespace

double Measurement::median() const { return bench::median(runs); }
double Measurement::least() const { return std::ranges::min(runs); }
double Measurement::most() const { return std::ranges::max(runs); }

bool measure(const BenchOptions& options, const std::function<bool(const Measurement&)>& done) {
  std::vector<Case> wanted = cases();
  std::erase_if(wanted,
                [&](const Case& one) { return !options.only.empty() && !options.only.contains(one.measurement.part); });
  // A run in front of the others warms up.
  const double runs = static_cast<double>(wanted.size() * (bench_runs + 1));
  const std::uint64_t ns = bench::to_ns(options.seconds / runs);
  for (Case& one : wanted) {
    const Run run = one.prepare(options.directory);
    (void)run(ns);
    for (std::size_t i = 0; i < bench_runs; ++i) one.measurement.runs.push_back(run(ns));
    if (!done(one.measurement) && &one != &wanted.back()) return false;
  }
  return true;
}

std::string bench_head() {
  return row({"", "", "threads", "bytes", "durable", "median", "least", "most"}) + "  doublings of 1/s\n";
}

std::string as_row(const Measurement& measurement) {
  const double rate = measurement.is_latency ? 1e9 / measurement.median() : measurement.median();
  const auto marks = static_cast<std::size_t>(std::clamp(std::round(std::log2(rate)), 0.0, 40.0));
  return row({measurement.part, measurement.what, std::to_string(measurement.threads),
              std::to_string(measurement.payload_bytes), *measurement.durability == '\0' ? "-" : measurement.durability,
              as_figure(measurement, measurement.median()), as_figure(measurement, measurement.least()),
              as_figure(measurement, measurement.most())}) +
         "  " + std::string(marks, '#') + '\n';
}

std::string as_json(const BenchOptions& options, const std::vector<Measurement>& measurements) {
  using nlohmann::ordered_json;
  auto all = ordered_json::array();
  for (const Measurement& one : measurements) {
    all.push_back({{"part", one.part},
                   {"what", one.what},
                   {"threads", one.threads},
                   {"payload_bytes", one.payload_bytes},
                   {"durability", *one.durability == '\0' ? ordered_json(nullptr) : ordered_json(one.durability)},
                   {"unit", one.is_latency ? "ns" : "per_second"},
                   {"median", one.median()},
                   {"least", one.least()},
                   {"most", one.most()},
                   {"runs", one.runs}});
  }
  const ordered_json object{{"processors", std::thread::hardware_concurrency()},
                            {"optimised", is_optimised},
                            {"seconds", options.seconds},
                            {"directory", options.directory},
                            {"measurements", all}};
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

std::string bench_conditions(const BenchOptions& options) {
  std::string text = counted(std::thread::hardware_concurrency(), "processor") + ", each figure of " +
                     std::to_string(bench_runs) + " runs, the log in '" + options.directory + "'\n";
  if (!is_optimised) text += "This busbar was built without optimisation, so the figures say little.\n";
  return text;
}

}  // namespace busbar

// SPDX-License-Identifier: MIT OR Apache-2.0
#include "simulation/sim_disk.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <mutex>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace bus::simulation {
namespace {

using boost::system::errc::errc_t;
using Bytes = std::vector<std::byte>;
using Parts = std::span<const std::span<const std::byte>>;

constexpr std::size_t sector_bytes = SimDisk::sector_bytes;

error_code fault(errc_t value) noexcept { return {static_cast<int>(value), boost::system::system_category()}; }

constexpr std::size_t sectors_of(std::uint64_t bytes) noexcept {
  return static_cast<std::size_t>((bytes + sector_bytes - 1) / sector_bytes);
}

/// splitmix64.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}

  std::uint64_t operator()() noexcept {
    std::uint64_t z = state_ += 0x9E37'79B9'7F4A'7C15U;
    z = (z ^ (z >> 30)) * 0xBF58'476D'1CE4'E5B9U;
    z = (z ^ (z >> 27)) * 0x94D0'49BB'1331'11EBU;
    return z ^ (z >> 31);
  }

  std::uint64_t below(std::uint64_t end) noexcept { return (*this)() % end; }
  std::uint64_t between(std::uint64_t least, std::uint64_t most) noexcept { return least + below(most - least + 1); }
  bool chance(double probability) noexcept {
    return probability > 0 && (probability >= 1 || static_cast<double>((*this)() >> 11) * 0x1p-53 < probability);
  }
  /// How much of what is uncertain is kept this time.
  double leaning() noexcept {
    static constexpr std::array leanings{0.0, 0.1, 0.5, 0.9, 1.0};
    return leanings[below(leanings.size())];
  }

 private:
  std::uint64_t state_;
};

class Hash {
 public:
  void add(std::uint64_t word) noexcept {
    value_ = (value_ ^ word) * 0x9FB2'1C65'1E98'DF25U;
    value_ ^= value_ >> 32;
  }
  void add(std::span<const std::byte> bytes) noexcept {
    add(bytes.size());
    add(XXH3_64bits(bytes.data(), bytes.size()));
  }
  void add(std::string_view text) noexcept { add(std::as_bytes(std::span(text))); }
  void add(const error_code& code) noexcept { add(static_cast<std::uint64_t>(code.value())); }
  template <class T>
  void add(const result<T>& outcome) noexcept {
    add(outcome.has_error() ? outcome.error() : error_code());
    if constexpr (std::is_integral_v<T>) {
      if (outcome.has_value()) add(static_cast<std::uint64_t>(*outcome));
    }
  }
  std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 0;
};

/// A set of sectors of a file.
class Sectors {
 public:
  bool has(std::size_t i) const noexcept { return i / 64 < words_.size() && (words_[i / 64] >> (i % 64) & 1) != 0; }

  /// Returns: how many were not in it.
  std::size_t add(std::size_t first, std::size_t end) {
    if (first >= end) return 0;
    if (words_.size() <= (end - 1) / 64) words_.resize((end - 1) / 64 + 1);
    std::size_t added = 0;
    while (first < end) {
      const std::size_t count = std::min(end - first, 64 - first % 64);
      const std::uint64_t mask = ~std::uint64_t{0} >> (64 - count) << (first % 64);
      added += static_cast<std::size_t>(std::popcount(mask & ~words_[first / 64]));
      words_[first / 64] |= mask;
      first += count;
    }
    return added;
  }

  /// Takes out those from `end` on.
  void cut(std::size_t end) {
    if (end / 64 >= words_.size()) return;
    words_.resize(end / 64 + 1);
    words_.back() &= ~(~std::uint64_t{0} << (end % 64));
  }

  void clear() noexcept { words_.clear(); }

  std::size_t count() const noexcept {
    std::size_t sum = 0;
    for (const std::uint64_t word : words_) sum += static_cast<std::size_t>(std::popcount(word));
    return sum;
  }

  template <class Visit>
  void each(Visit visit) const {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      for (std::uint64_t word = words_[i]; word != 0; word &= word - 1) {
        visit(i * 64 + static_cast<std::size_t>(std::countr_zero(word)));
      }
    }
  }

 private:
  std::vector<std::uint64_t> words_;
};

/// What was in files that are gone, as it may show up again in sectors that were never written.
class Graveyard {
 public:
  void bury(Bytes bytes) {
    static constexpr std::size_t most = 8;
    static constexpr std::size_t most_bytes = 1 << 20;
    if (bytes.empty()) return;
    bytes.resize(std::min(bytes.size(), most_bytes));
    if (graves_.size() < most) graves_.emplace_back();
    std::ranges::rotate(graves_, graves_.end() - 1);
    graves_.front() = std::move(bytes);
  }
  bool empty() const noexcept { return graves_.empty(); }
  std::size_t size() const noexcept { return graves_.size(); }
  const Bytes& operator[](std::size_t i) const noexcept { return graves_[i]; }

 private:
  std::vector<Bytes> graves_;
};

/// A file, whatever its names.
struct Node {
  Node(std::uint64_t number, std::shared_ptr<Graveyard> buried_in) : id(number), graveyard(std::move(buried_in)) {}
  ~Node() { graveyard->bury(std::move(platter)); }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const std::uint64_t id;
  const std::shared_ptr<Graveyard> graveyard;
  Bytes cached;                    // what reads see
  Sectors dirty;                   // of `cached`, those that a sync will write
  Bytes platter;  // what is on the disk: whole sectors, zeros past the durable size but for lost syncs
  std::uint64_t durable_size = 0;  // <= platter.size()
  std::uint64_t shortest = 0;  // of the sizes since the last sync
  std::uint64_t longest = 0;
  Sectors allocated;
  std::size_t room = 0;  // == allocated.count()
  std::size_t reserved = 0;  // sectors from the start
  std::size_t durable_reserved = 0;
  std::set<std::size_t> broken;
  bool named = false;
  unsigned handles = 0;  // live ones

  std::span<std::byte> sector(Bytes& bytes, std::size_t i) const noexcept {
    const auto all = std::span(bytes);
    const std::size_t begin = std::min(all.size(), i * sector_bytes);
    return all.subspan(begin, std::min(sector_bytes, all.size() - begin));
  }

  void allocate(std::size_t first, std::size_t end) { room += allocated.add(first, end); }

  /// Gives back what is past a size, reserved or not.
  void release(std::uint64_t size) {
    reserved = std::min(reserved, sectors_of(size));
    broken.erase(broken.lower_bound(sectors_of(size)), broken.end());
    allocated.cut(sectors_of(size));
    room = allocated.count();
  }

  /// Brings the first bytes of a sector to the disk, where there is room for it.
  void store(std::size_t i, std::size_t bytes = sector_bytes) noexcept {
    const auto from = sector(cached, i);
    const auto to = sector(platter, i).first(bytes);
    const std::size_t common = std::min(from.size(), to.size());
    std::ranges::copy(from.first(common), to.begin());
    std::ranges::fill(to.subspan(common), std::byte{});
  }

  void set_platter(std::uint64_t size) {
    platter.resize(sectors_of(size) * sector_bytes);
    std::fill(platter.begin() + static_cast<std::ptrdiff_t>(size), platter.end(), std::byte{});
    durable_size = size;
  }

  /// What has changed is durable now, or is lost: nothing is under way.
  void settle() {
    dirty.clear();
    shortest = std::min<std::uint64_t>(durable_size, cached.size());
    longest = std::max<std::uint64_t>(durable_size, cached.size());
  }

  void set_size(std::uint64_t size) {
    const std::uint64_t old = cached.size();
    cached.resize(static_cast<std::size_t>(size));
    if (size < old) {
      dirty.cut(sectors_of(size));
      if (size % sector_bytes != 0) dirty.add(sectors_of(size) - 1, sectors_of(size));
    } else {
      dirty.add(sectors_of(old), sectors_of(size));
    }
    shortest = std::min(shortest, size);
    longest = std::max(longest, size);
  }

  /// The cache is what is on the disk.
  void reload() {
    cached.assign(platter.begin(), platter.begin() + static_cast<std::ptrdiff_t>(durable_size));
    settle();
  }
};

struct Directory;

/// What a name stands for: one of the two.
struct Entry {
  std::shared_ptr<Node> file;
  std::shared_ptr<Directory> directory;
};
using Names = std::map<std::string, Entry, std::less<>>;

/// A change of names: `from` goes, and `to` is `entry`. One of them may be empty.
struct Change {
  std::string from;
  std::string to;
  Entry entry;

  void apply(Names& names) const {
    if (!from.empty()) names.erase(from);
    if (!to.empty()) names.insert_or_assign(to, entry);
  }
};

struct Directory {
  explicit Directory(std::uint64_t number, std::string where) : id(number), path(std::move(where)) {}

  const std::uint64_t id;
  const std::string path;
  Names names;
  Names durable;
  std::vector<Change> changes;  // of `names`, since the last sync of them, in order
  std::set<std::string, std::less<>> locks;

  void commit() {
    durable = names;
    changes.clear();
  }
};

/// A directory and those in it, in order.
template <class Visit>
void each_directory(Directory& top, Visit visit) {
  visit(top);
  for (const auto& [name, entry] : top.names) {
    if (entry.directory) each_directory(*entry.directory, visit);
  }
}

error_code check_name(std::string_view name) noexcept {
  static constexpr std::size_t longest = 255;
  if (name.empty() || name == "." || name == ".." || name.find_first_of(std::string_view("/\0", 2)) != name.npos) {
    return fault(errc_t::invalid_argument);
  }
  return name.size() > longest ? fault(errc_t::filename_too_long) : error_code();
}

}  // namespace

/// Everything, behind one mutex. What a process may call is given its epoch: only the last is alive.
class SimDisk::State {
 public:
  explicit State(std::uint64_t seed) : seed_(seed), random_(seed) {}

  mutable std::mutex mutex;

  // --- What processes call, the mutex held ---

  result<std::shared_ptr<Node>> open(std::uint64_t epoch, Directory& in, std::string_view name, Storage::Open how) {
    const bool makes = how == Storage::Open::create;
    if (const auto refused = begin(makes ? Call::create : Call::open, epoch)) return refused;
    if (const auto wrong = check_name(name)) return wrong;
    if (makes) {
      if (in.names.contains(name)) return fault(errc_t::file_exists);
      if (const auto refused = create(in, name, {make_node(), nullptr})) return refused;
    }
    auto found = find(in, name);
    if (found.has_value()) ++(*found)->handles;
    return found;
  }

  void close(std::uint64_t epoch, std::shared_ptr<Node> node) {
    if (epoch == epoch_) --node->handles;
  }

  result<std::size_t> read(std::uint64_t epoch, Node& node, std::uint64_t position, std::span<std::byte> out) {
    if (const auto refused = begin(Call::read, epoch)) return refused;
    if (position >= node.cached.size() || out.empty()) return std::size_t{0};
    std::size_t count = std::min(out.size(), node.cached.size() - static_cast<std::size_t>(position));
    if (random_.chance(faults_.short_reads)) count = static_cast<std::size_t>(random_.between(1, count));
    const auto broken = node.broken.lower_bound(static_cast<std::size_t>(position / sector_bytes));
    if (broken != node.broken.end()) {
      const std::uint64_t ends = *broken * sector_bytes;
      if (ends <= position) return fault(errc_t::io_error);
      count = static_cast<std::size_t>(std::min<std::uint64_t>(count, ends - position));
    }
    std::memcpy(out.data(), node.cached.data() + position, count);
    counters_.bytes_read += count;
    trace_.add(out.first(count));
    return count;
  }

  result<std::size_t> write(std::uint64_t epoch, Node& node, std::uint64_t position, Parts parts) {
    std::size_t count = 0;
    for (const auto& part : parts) {
      trace_.add(part);
      count += part.size();
    }
    if (const auto refused = begin(Call::write, epoch)) return refused;
    if (parts.size() > File::max_parts) return fault(errc_t::invalid_argument);
    if (count == 0) return count;
    if (position > max_file_bytes || count > max_file_bytes - position) return fault(errc_t::file_too_large);
    if (random_.chance(faults_.short_writes)) count = static_cast<std::size_t>(random_.between(1, count));
    count = fitting(node, position, count);
    if (count == 0) return fault(errc_t::no_space_on_device);
    const bool fails = power_fails();
    if (fails) count = static_cast<std::size_t>(random_.below(count + 1));
    put(node, position, parts, count);
    counters_.bytes_written += count;
    if (fails) return fault(errc_t::io_error);
    return count;
  }

  error_code sync(std::uint64_t epoch, Node& node) {
    const auto refused = begin(Call::sync, epoch);
    if (refused && (epoch != epoch_ || off_)) return refused;
    const bool interrupted = !refused && power_fails();
    if (!refused && !interrupted) {
      sync_whole(node);
      return {};
    }
    const double keep = random_.leaning();
    node.platter.resize(std::max(node.platter.size(), sectors_of(node.cached.size()) * sector_bytes));
    node.dirty.each([&](std::size_t i) {
      if (random_.chance(keep)) node.store(i);
    });
    if (interrupted) return fault(errc_t::io_error);
    if (random_.chance(keep)) node.durable_size = node.cached.size();
    node.settle();
    return refused;
  }

  result<std::uint64_t> size(std::uint64_t epoch, Node& node) {
    if (const auto refused = begin(Call::size, epoch)) return refused;
    return std::uint64_t{node.cached.size()};
  }

  error_code resize(std::uint64_t epoch, Node& node, std::uint64_t size) {
    if (const auto refused = begin(Call::resize, epoch)) return refused;
    if (size > max_file_bytes) return fault(errc_t::file_too_large);
    if (size > node.cached.size() && find_room(1) == 0) return fault(errc_t::no_space_on_device);
    const bool fails = power_fails();
    if (!fails || random_.chance(0.5)) {
      // As ext4 and xfs do: cutting a file off where it ends gives back what was reserved past that.
      if (size <= node.cached.size()) node.release(size);
      node.set_size(size);
    }
    return fails ? fault(errc_t::io_error) : error_code();
  }

  error_code reserve(std::uint64_t epoch, Node& node, std::uint64_t size) {
    if (const auto refused = begin(Call::reserve, epoch)) return refused;
    if (size > max_file_bytes) return fault(errc_t::file_too_large);
    const std::size_t end = sectors_of(size);
    std::size_t needed = 0;
    for (std::size_t i = 0; i < end; ++i) needed += node.allocated.has(i) ? 0 : 1;
    if (find_room(needed) < needed) return fault(errc_t::no_space_on_device);
    const bool fails = power_fails();
    if (!fails || random_.chance(0.5)) {
      node.allocate(0, end);
      node.reserved = std::max(node.reserved, end);
    }
    return fails ? fault(errc_t::io_error) : error_code();
  }

  result<std::vector<std::string>> list(std::uint64_t epoch, Directory& in) {
    if (const auto refused = begin(Call::list, epoch)) return refused;
    std::vector<std::string> all;
    for (const auto& [name, entry] : in.names) {
      if (entry.file) all.push_back(name);
    }
    for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[random_.below(i)]);
    for (const std::string& name : all) trace_.add(name);
    return all;
  }

  error_code rename(std::uint64_t epoch, Directory& in, std::string_view from, std::string_view to) {
    if (const auto refused = begin(Call::rename, epoch)) return refused;
    for (const auto name : {from, to}) {
      if (const auto wrong = check_name(name)) return wrong;
    }
    const auto file = find(in, from);
    if (file.has_error()) return file.error();
    if (from == to) return {};
    const auto replaced = in.names.find(to);
    if (replaced != in.names.end() && replaced->second.directory) return fault(errc_t::is_a_directory);
    return change(in, {std::string(from), std::string(to), {*file, nullptr}});
  }

  error_code remove(std::uint64_t epoch, Directory& in, std::string_view name) {
    if (const auto refused = begin(Call::remove, epoch)) return refused;
    if (const auto wrong = check_name(name)) return wrong;
    const auto file = find(in, name);
    if (file.has_error()) return file.error();
    return change(in, {std::string(name), {}, {}});
  }

  error_code sync_names(std::uint64_t epoch, Directory& in) {
    const auto refused = begin(Call::sync_names, epoch);
    if (refused && (epoch != epoch_ || off_)) return refused;
    const bool interrupted = !refused && power_fails();
    if (!refused && !interrupted) {
      for (const Change& one : in.changes) one.apply(in.durable);
      in.changes.clear();
      return {};
    }
    auto lost = keep_some(in, random_.leaning());
    in.changes.clear();
    if (interrupted) in.changes = std::move(lost);
    return refused ? refused : fault(errc_t::io_error);
  }

  error_code lock(std::uint64_t epoch, Directory& in, std::string_view name) {
    if (const auto refused = begin(Call::lock, epoch)) return refused;
    if (const auto wrong = check_name(name)) return wrong;
    if (!in.names.contains(name)) {
      if (const auto refused = create(in, name, {make_node(), nullptr})) return refused;
    }
    if (const auto file = find(in, name); file.has_error()) return file.error();
    return in.locks.emplace(name).second ? error_code() : fault(errc_t::device_or_resource_busy);
  }

  error_code check_lock(std::uint64_t epoch, Directory& in, std::string_view name) {
    if (const auto refused = begin(Call::lock, epoch)) return refused;
    if (const auto wrong = check_name(name)) return wrong;
    return in.locks.contains(name) ? fault(errc_t::device_or_resource_busy) : error_code();
  }

  void unlock(std::uint64_t epoch, Directory& in, std::string_view name) {
    if (epoch == epoch_) in.locks.erase(in.locks.find(name));
  }

  result<std::shared_ptr<Directory>> directory(std::uint64_t epoch, Directory& in, std::string_view name, bool make) {
    if (const auto refused = begin(Call::directory, epoch)) return refused;
    if (const auto wrong = check_name(name)) return wrong;
    if (!in.names.contains(name)) {
      if (!make) return fault(errc_t::no_such_file_or_directory);
      if (const auto refused = create(in, name, {nullptr, make_directory(in, name)})) return refused;
    }
    const Entry& entry = in.names.find(name)->second;
    if (!entry.directory) return fault(errc_t::not_a_directory);
    return entry.directory;
  }

  result<std::uint64_t> free_bytes(std::uint64_t epoch) {
    if (const auto refused = begin(Call::free_bytes, epoch)) return refused;
    return std::uint64_t{free_sectors(in_use(false))} * sector_bytes;
  }

  std::uint64_t draw() noexcept { return random_(); }

  template <class Outcome>
  Outcome traced(Call call, std::uint64_t on, Outcome outcome) noexcept {
    trace_.add(static_cast<std::uint64_t>(call));
    trace_.add(on);
    trace_.add(outcome);
    return outcome;
  }
  void trace(std::string_view text) noexcept { trace_.add(text); }
  void trace(std::uint64_t number) noexcept { trace_.add(number); }

  std::uint64_t epoch() const noexcept { return epoch_; }
  std::uint64_t seed() const noexcept { return seed_; }
  const std::shared_ptr<Directory>& top() const noexcept { return top_; }

  // --- What happens to it, the mutex held ---

  void crash(const CrashOptions& options) {
    end_process();
    settle_names(*top_, options);
    rename_all();
    for (const auto& node : nodes()) {
      if (node->named) {
        settle(*node, options);
      } else {
        node->room = 0;  // held by a dead handle, if at all
      }
    }
  }

  void end_process() {
    ++epoch_;
    off_ = false;
    power_left_.reset();
    each_directory(*top_, [](Directory& in) { in.locks.clear(); });
    for (const auto& node : nodes()) node->handles = 0;
  }

  void power_off_after(std::uint64_t calls) noexcept { power_left_ = calls; }
  bool power_is_off() const noexcept { return off_; }

  void drop_caches() {
    for (const auto& node : nodes()) {
      Bytes fresh = node->platter;
      fresh.resize(node->cached.size());
      node->dirty.each(
          [&](std::size_t i) { std::ranges::copy(node->sector(node->cached, i), node->sector(fresh, i).begin()); });
      node->cached = std::move(fresh);
    }
  }

  void set_faults(const Faults& faults) { faults_ = faults; }
  void add_plan(const Faults::Plan& plan) { faults_.plans.push_back(plan); }

  // --- Damage and looks, the mutex held ---

  /// The directory in which the last name of a path is, and that name.
  std::pair<Directory*, std::string_view> walk(std::string_view path, bool make) {
    Directory* in = top_.get();
    for (std::size_t slash = path.find('/'); slash != path.npos; slash = path.find('/')) {
      const std::string_view name = path.substr(0, slash);
      if (make && !in->names.contains(name)) {
        in->names.emplace(name, Entry{nullptr, make_directory(*in, name)});
        in->commit();
      }
      const auto found = in->names.find(name);
      if (found == in->names.end() || !found->second.directory) throw_missing(path);
      in = found->second.directory.get();
      path.remove_prefix(slash + 1);
    }
    return {in, path};
  }

  Node& file_at(std::string_view path) {
    const auto [in, name] = walk(path, false);
    const auto found = find(*in, name);
    if (found.has_error()) throw_missing(path);
    return **found;
  }

  const Node& durable_file_at(std::string_view path) {
    const auto [in, name] = walk(path, false);
    const auto found = in->durable.find(name);
    if (found == in->durable.end() || !found->second.file) throw_missing(path);
    return *found->second.file;
  }

  std::size_t sector_of(const Node& node, std::uint64_t sector) const {
    if (sector >= sectors_of(node.cached.size())) throw std::invalid_argument("SimDisk: no sector there in the file");
    return static_cast<std::size_t>(sector);
  }

  void swap_files(std::string_view one, std::string_view other) {
    file_at(one);
    file_at(other);
    const auto [in, name] = walk(one, false);
    const auto [other_in, other_name] = walk(other, false);
    std::swap(in->names.find(name)->second, other_in->names.find(other_name)->second);
    in->commit();
    other_in->commit();
  }

  void remove_file(std::string_view path) {
    file_at(path);
    const auto [in, name] = walk(path, false);
    const auto found = in->names.find(name);
    found->second.file->named = false;
    in->names.erase(found);
    in->commit();
  }

  void put_file(std::string_view path, std::span<const std::byte> bytes, std::uint64_t reserved_bytes = 0) {
    const auto [in, name] = walk(path, true);
    if (check_name(name)) throw std::invalid_argument("SimDisk: not a name of a file");
    auto node = make_node();
    node->platter.assign(bytes.begin(), bytes.end());
    node->set_platter(bytes.size());
    node->reload();
    node->reserved = node->durable_reserved = sectors_of(reserved_bytes);
    node->allocate(0, std::max(node->reserved, sectors_of(bytes.size())));
    node->named = true;
    const auto replaced = in->names.find(name);
    if (replaced != in->names.end() && replaced->second.file) replaced->second.file->named = false;
    in->names.insert_or_assign(std::string(name), Entry{std::move(node), nullptr});
    in->commit();
  }

  Snapshot snapshot() const {
    Snapshot all;
    collect(*top_, "", all);
    return all;
  }

  void restore(const Snapshot& snapshot) {
    end_process();
    top_ = std::make_shared<Directory>(0, "");
    graveyard_ = std::make_shared<Graveyard>();
    nodes_.clear();
    for (const std::string& path : snapshot.directories) walk(path + '/', true);
    for (const auto& [path, file] : snapshot.files) put_file(path, file.bytes, file.reserved_bytes);
  }

  const Counters& counters() const noexcept { return counters_; }
  std::uint64_t trace_hash() const noexcept { return trace_.value(); }

 private:
  [[noreturn]] static void throw_missing(std::string_view path) {
    throw std::invalid_argument("SimDisk: there is no file " + std::string(path));
  }

  /// Counts a call. Returns: the error that it is to give.
  error_code begin(Call call, std::uint64_t epoch) {
    if (epoch != epoch_ || off_) return fault(errc_t::io_error);
    ++counters_.calls[static_cast<std::size_t>(call)];
    error_code planned;
    for (Faults::Plan& plan : faults_.plans) {
      if (plan.call != call || plan.nth == 0) continue;
      if (plan.nth > 1) {
        --plan.nth;
        continue;
      }
      if (!planned) planned = fault(plan.error);
      if (!plan.for_good) plan.nth = 0;
    }
    return planned;
  }

  /// Of a call that changes something, just before it does. Returns: whether the power goes in the middle of it.
  bool power_fails() noexcept {
    if (!power_left_) return false;
    if (*power_left_ != 0) {
      --*power_left_;
      return false;
    }
    off_ = true;
    return true;
  }

  std::shared_ptr<Node> make_node() {
    auto node = std::make_shared<Node>(++last_id_, graveyard_);
    std::erase_if(nodes_, [](const std::weak_ptr<Node>& one) { return one.expired(); });
    nodes_.push_back(node);
    return node;
  }

  std::shared_ptr<Directory> make_directory(const Directory& in, std::string_view name) {
    return std::make_shared<Directory>(++last_id_, in.path + '/' + std::string(name));
  }

  /// All files that have a name, durable or not, or are open.
  std::vector<std::shared_ptr<Node>> nodes() const {
    std::vector<std::shared_ptr<Node>> all;
    for (const auto& one : nodes_) {
      if (auto node = one.lock()) all.push_back(std::move(node));
    }
    return all;
  }

  static result<std::shared_ptr<Node>> find(const Directory& in, std::string_view name) {
    const auto found = in.names.find(name);
    if (found == in.names.end()) return fault(errc_t::no_such_file_or_directory);
    if (!found->second.file) return fault(errc_t::is_a_directory);
    return found->second.file;
  }

  // --- Room ---

  /// Sectors in use. With those of files that only a crash can bring back, or without.
  std::size_t in_use(bool all) const {
    std::size_t sum = 0;
    for (const auto& node : nodes()) {
      if (all || node->named || node->handles != 0) sum += node->room;
    }
    return sum;
  }

  std::size_t free_sectors(std::size_t used) const noexcept {
    const std::uint64_t all = faults_.capacity_bytes.value_or(unlimited_bytes) / sector_bytes;
    return static_cast<std::size_t>(all - std::min<std::uint64_t>(all, used));
  }

  /// Returns: free sectors. If there are enough only because files were removed, that is durable now.
  std::size_t find_room(std::size_t needed) {
    if (!faults_.capacity_bytes) return free_sectors(0);
    const std::size_t free = free_sectors(in_use(false));
    const std::size_t free_already = free_sectors(in_use(true));
    if (free_already < needed && free_already < free) each_directory(*top_, [](Directory& in) { in.commit(); });
    return free;
  }

  /// How many of these bytes there is room for.
  std::size_t fitting(const Node& node, std::uint64_t position, std::size_t count) {
    if (!faults_.capacity_bytes) return count;
    const auto first = static_cast<std::size_t>(position / sector_bytes);
    const std::size_t end = sectors_of(position + count);
    std::size_t needed = 0;
    for (std::size_t i = first; i < end; ++i) needed += node.allocated.has(i) ? 0 : 1;
    if (needed == 0) return count;
    const std::size_t free = find_room(needed);
    if (needed <= free) return count;
    needed = 0;
    std::size_t i = first;
    while (node.allocated.has(i) || ++needed <= free) ++i;
    return i == first ? 0 : static_cast<std::size_t>(i * sector_bytes - position);
  }

  // --- Content ---

  static void put(Node& node, std::uint64_t position, Parts parts, std::size_t count) {
    if (count == 0) return;
    const std::uint64_t end = position + count;
    if (end > node.cached.size()) node.set_size(end);
    const auto first = static_cast<std::size_t>(position / sector_bytes);
    node.dirty.add(first, sectors_of(end));
    node.allocate(first, sectors_of(end));
    const std::size_t whole_end = end == node.cached.size() ? sectors_of(end) : end / sector_bytes;
    std::erase_if(node.broken, [&](std::size_t i) { return i >= sectors_of(position) && i < whole_end; });
    std::byte* to = node.cached.data() + position;
    for (const auto& part : parts) {
      const std::size_t length = std::min(part.size(), count);
      if (length != 0) std::memcpy(to, part.data(), length);
      to += length;
      count -= length;
    }
  }

  static void sync_whole(Node& node) {
    node.platter.resize(sectors_of(node.cached.size()) * sector_bytes);
    node.dirty.each([&](std::size_t i) { node.store(i); });
    node.durable_size = node.cached.size();
    node.durable_reserved = node.reserved;
    node.settle();
  }

  // --- Power loss ---

  /// Applies some changes to the durable names: none without those before it to the same names.
  /// Returns: the others.
  std::vector<Change> keep_some(Directory& in, double keep) {
    std::vector<Change> lost;
    std::set<std::string_view> names;
    lost.reserve(in.changes.size());  // the views point into it
    for (Change& one : in.changes) {
      if (!names.contains(one.from) && !names.contains(one.to) && random_.chance(keep)) {
        one.apply(in.durable);
        continue;
      }
      const Change& gone = lost.emplace_back(std::move(one));
      for (const std::string& name : {std::cref(gone.from), std::cref(gone.to)}) {
        if (!name.empty()) names.insert(name);
      }
    }
    return lost;
  }

  void settle_names(Directory& in, const CrashOptions& options) {
    keep_some(in, options.keep.value_or(random_.leaning()));
    in.names = in.durable;
    in.changes.clear();
    for (const auto& [name, entry] : in.names) {
      if (entry.directory) settle_names(*entry.directory, options);
    }
  }

  /// Finds out anew which files have names.
  void rename_all() {
    for (const auto& node : nodes()) node->named = false;
    each_directory(*top_, [](Directory& in) {
      for (const auto& [name, entry] : in.names) {
        if (entry.file) entry.file->named = true;
      }
    });
  }

  std::uint64_t settle_size(const Node& node, const CrashOptions& options, double keep) {
    if (random_.chance(keep)) return node.cached.size();
    if (options.keep || random_.chance(0.5)) return node.durable_size;
    return random_.between(node.shortest, node.longest);
  }

  void settle(Node& node, const CrashOptions& options) {
    const double keep = options.keep.value_or(random_.leaning());
    const std::uint64_t size = settle_size(node, options, keep);
    const std::size_t durable_end = node.platter.size() / sector_bytes;
    const std::size_t end = std::max({durable_end, sectors_of(size), sectors_of(node.cached.size())});
    node.platter.resize(end * sector_bytes);
    if (options.stale_sectors) exhume(node.platter, durable_end, end);
    node.dirty.each([&](std::size_t i) {
      if (random_.chance(keep)) {
        const bool torn = options.tear_sectors && random_.chance(0.25);
        node.store(i, torn ? static_cast<std::size_t>(random_.between(1, sector_bytes - 1)) : sector_bytes);
      } else if (options.zero_sectors && random_.chance(0.25)) {
        std::ranges::fill(node.sector(node.platter, i), std::byte{});
      }
    });
    if (!random_.chance(keep)) node.reserved = node.durable_reserved;
    node.durable_reserved = node.reserved;
    node.allocate(sectors_of(node.cached.size()), sectors_of(size));
    node.allocate(0, node.reserved);
    node.allocated.cut(std::max(sectors_of(size), node.reserved));
    node.room = node.allocated.count();
    node.set_platter(size);
    node.reload();
  }

  /// Fills sectors with what may have been there before, in runs.
  void exhume(Bytes& platter, std::size_t first, std::size_t end) {
    while (first < end) {
      const std::size_t until = std::min(end, first + static_cast<std::size_t>(random_.between(1, 16)));
      const auto run = std::span(platter).subspan(first * sector_bytes, (until - first) * sector_bytes);
      switch (random_.below(3)) {
        case 0: break;
        case 1:
          if (!graveyard_->empty()) {
            // Mostly from where it stood, for that is what can be taken for genuine.
            const Bytes& grave = (*graveyard_)[random_.below(graveyard_->size())];
            const std::size_t from = random_.chance(0.75) ? first : random_.below(grave.size() / sector_bytes);
            const auto old = std::span(grave).subspan(std::min(grave.size(), from * sector_bytes));
            std::ranges::copy(old.first(std::min(old.size(), run.size())), run.begin());
            break;
          }
          [[fallthrough]];
        default:
          for (std::byte& one : run) one = static_cast<std::byte>(random_());
      }
      first = until;
    }
  }

  // --- Names ---

  error_code create(Directory& in, std::string_view name, Entry entry) {
    return change(in, {{}, std::string(name), std::move(entry)});
  }

  error_code change(Directory& in, Change one) {
    const bool fails = power_fails();
    if (!fails || random_.chance(0.5)) {
      for (const std::string& name : {std::cref(one.from), std::cref(one.to)}) {
        const auto found = in.names.find(name);
        if (found != in.names.end() && found->second.file) found->second.file->named = false;
      }
      if (one.entry.file) one.entry.file->named = true;
      one.apply(in.names);
      in.changes.push_back(std::move(one));
    }
    return fails ? fault(errc_t::io_error) : error_code();
  }

  static void collect(const Directory& in, const std::string& prefix, Snapshot& all) {
    for (const auto& [name, entry] : in.durable) {
      if (entry.directory) {
        all.directories.insert(prefix + name);
        collect(*entry.directory, prefix + name + '/', all);
        continue;
      }
      const Node& node = *entry.file;
      const auto end = node.platter.begin() + static_cast<std::ptrdiff_t>(node.durable_size);
      all.files.emplace(prefix + name, Snapshot::Content{Bytes(node.platter.begin(), end),
                                                         std::uint64_t{node.durable_reserved} * sector_bytes});
    }
  }

  const std::uint64_t seed_;
  Random random_;
  Hash trace_;
  Counters counters_;
  Faults faults_;
  std::uint64_t epoch_ = 0;
  std::optional<std::uint64_t> power_left_;  // calls that change something, until it goes
  bool off_ = false;
  std::uint64_t last_id_ = 0;
  std::shared_ptr<Graveyard> graveyard_ = std::make_shared<Graveyard>();
  std::vector<std::weak_ptr<Node>> nodes_;
  std::shared_ptr<Directory> top_ = std::make_shared<Directory>(0, "");
};

namespace {

using StatePtr = std::shared_ptr<SimDisk::State>;

class OpenFile final : public File {
 public:
  OpenFile(StatePtr state, std::uint64_t epoch, std::shared_ptr<Node> node, bool writable)
      : state_(std::move(state)), epoch_(epoch), node_(std::move(node)), writable_(writable) {}
  ~OpenFile() override {
    const std::scoped_lock lock(state_->mutex);
    state_->close(epoch_, std::move(node_));
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  result<std::size_t> read(std::uint64_t position, std::span<std::byte> out) noexcept override {
    const std::scoped_lock lock(state_->mutex);
    state_->trace(position);
    state_->trace(out.size());
    return traced(Call::read, state_->read(epoch_, *node_, position, out));
  }
  result<std::size_t> write(std::uint64_t position, Parts parts) noexcept override {
    const std::scoped_lock lock(state_->mutex);
    if (!writable_) return traced(Call::write, result<std::size_t>(fault(errc_t::bad_file_descriptor)));
    state_->trace(position);
    return traced(Call::write, state_->write(epoch_, *node_, position, parts));
  }
  error_code sync() noexcept override {
    const std::scoped_lock lock(state_->mutex);
    return traced(Call::sync, state_->sync(epoch_, *node_));
  }
  result<std::uint64_t> size() noexcept override {
    const std::scoped_lock lock(state_->mutex);
    return traced(Call::size, state_->size(epoch_, *node_));
  }
  error_code resize(std::uint64_t size) noexcept override {
    const std::scoped_lock lock(state_->mutex);
    if (!writable_) return traced(Call::resize, fault(errc_t::bad_file_descriptor));
    state_->trace(size);
    return traced(Call::resize, state_->resize(epoch_, *node_, size));
  }
  error_code reserve(std::uint64_t size) noexcept override {
    const std::scoped_lock lock(state_->mutex);
    if (!writable_) return traced(Call::reserve, fault(errc_t::bad_file_descriptor));
    state_->trace(size);
    return traced(Call::reserve, state_->reserve(epoch_, *node_, size));
  }

 private:
  template <class Outcome>
  Outcome traced(Call call, Outcome outcome) noexcept {
    return state_->traced(call, node_->id, std::move(outcome));
  }

  const StatePtr state_;
  const std::uint64_t epoch_;
  std::shared_ptr<Node> node_;
  const bool writable_;
};

class HeldLock final : public StorageLock {
 public:
  HeldLock(StatePtr state, std::uint64_t epoch, std::shared_ptr<Directory> in, std::string_view name)
      : state_(std::move(state)), epoch_(epoch), in_(std::move(in)), name_(name) {}
  ~HeldLock() override {
    const std::scoped_lock lock(state_->mutex);
    state_->unlock(epoch_, *in_, name_);
    in_.reset();
  }
  HeldLock(const HeldLock&) = delete;
  HeldLock& operator=(const HeldLock&) = delete;

 private:
  const StatePtr state_;
  const std::uint64_t epoch_;
  std::shared_ptr<Directory> in_;
  const std::string name_;
};

class Mount final : public Storage {
 public:
  Mount(StatePtr state, std::uint64_t epoch, std::shared_ptr<Directory> in)
      : state_(std::move(state)), epoch_(epoch), in_(std::move(in)) {}
  ~Mount() override {
    const std::scoped_lock lock(state_->mutex);
    in_.reset();
  }
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  result<std::unique_ptr<File>> open(std::string_view name, Open how) noexcept override {
    const std::scoped_lock lock(state_->mutex);
    state_->trace(name);
    state_->trace(static_cast<std::uint64_t>(how));
    auto node = traced(Call::open, state_->open(epoch_, *in_, name, how));
    if (node.has_error()) return node.error();
    return std::unique_ptr<File>(new OpenFile(state_, epoch_, *std::move(node), how != Open::existing_to_read));
  }
  result<std::vector<std::string>> list() noexcept override {
    const std::scoped_lock lock(state_->mutex);
    return traced(Call::list, state_->list(epoch_, *in_));
  }
  error_code rename(std::string_view from, std::string_view to) noexcept override {
    const std::scoped_lock lock(state_->mutex);
    state_->trace(from);
    state_->trace(to);
    return traced(Call::rename, state_->rename(epoch_, *in_, from, to));
  }
  error_code remove(std::string_view name) noexcept override {
    const std::scoped_lock lock(state_->mutex);
    state_->trace(name);
    return traced(Call::remove, state_->remove(epoch_, *in_, name));
  }
  error_code sync_names() noexcept override {
    const std::scoped_lock lock(state_->mutex);
    return traced(Call::sync_names, state_->sync_names(epoch_, *in_));
  }
  result<std::unique_ptr<StorageLock>> lock(std::string_view name) noexcept override {
    const std::scoped_lock guard(state_->mutex);
    state_->trace(name);
    if (const auto refused = traced(Call::lock, state_->lock(epoch_, *in_, name))) return refused;
    return std::unique_ptr<StorageLock>(new HeldLock(state_, epoch_, in_, name));
  }
  error_code check_lock(std::string_view name) noexcept override {
    const std::scoped_lock lock(state_->mutex);
    state_->trace(name);
    return traced(Call::lock, state_->check_lock(epoch_, *in_, name));
  }
  result<std::unique_ptr<Storage>> directory(std::string_view name) noexcept override { return directory(name, true); }
  result<std::unique_ptr<Storage>> existing_directory(std::string_view name) noexcept override {
    return directory(name, false);
  }
  result<std::uint64_t> free_bytes() noexcept override {
    const std::scoped_lock lock(state_->mutex);
    return traced(Call::free_bytes, state_->free_bytes(epoch_));
  }
  std::uint64_t random() noexcept override {
    const std::scoped_lock lock(state_->mutex);
    const std::uint64_t drawn = state_->draw();
    state_->trace(drawn);
    return drawn;
  }
  std::string describe() const override {
    return "simulated disk of seed " + std::to_string(state_->seed()) + in_->path;
  }

 private:
  result<std::unique_ptr<Storage>> directory(std::string_view name, bool make) noexcept {
    const std::scoped_lock lock(state_->mutex);
    state_->trace(name);
    auto found = traced(Call::directory, state_->directory(epoch_, *in_, name, make));
    if (found.has_error()) return found.error();
    return std::unique_ptr<Storage>(new Mount(state_, epoch_, *std::move(found)));
  }

  template <class Outcome>
  Outcome traced(Call call, Outcome outcome) noexcept {
    return state_->traced(call, in_->id, std::move(outcome));
  }

  const StatePtr state_;
  const std::uint64_t epoch_;
  std::shared_ptr<Directory> in_;
};

}  // namespace

SimDisk::SimDisk(std::uint64_t seed) : state_(std::make_shared<State>(seed)) {}
SimDisk::~SimDisk() = default;

std::unique_ptr<Storage> SimDisk::mount() {
  const std::scoped_lock lock(state_->mutex);
  return std::make_unique<Mount>(state_, state_->epoch(), state_->top());
}

void SimDisk::crash(const CrashOptions& options) {
  const std::scoped_lock lock(state_->mutex);
  state_->crash(options);
}

void SimDisk::kill() {
  const std::scoped_lock lock(state_->mutex);
  state_->end_process();
}

void SimDisk::power_off_after(std::uint64_t calls) {
  const std::scoped_lock lock(state_->mutex);
  state_->power_off_after(calls);
}

bool SimDisk::power_is_off() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->power_is_off();
}

void SimDisk::drop_caches() {
  const std::scoped_lock lock(state_->mutex);
  state_->drop_caches();
}

void SimDisk::set_faults(const Faults& faults) {
  const std::scoped_lock lock(state_->mutex);
  state_->set_faults(faults);
}

void SimDisk::fail(const Faults::Plan& plan) {
  const std::scoped_lock lock(state_->mutex);
  state_->add_plan(plan);
}

void SimDisk::flip_bit(std::string_view path, std::uint64_t bit) {
  const std::scoped_lock lock(state_->mutex);
  Node& node = state_->file_at(path);
  state_->sector_of(node, bit / 8 / sector_bytes);
  for (Bytes* bytes : {&node.cached, &node.platter}) {
    if (bit / 8 < bytes->size()) (*bytes)[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

void SimDisk::zero_sector(std::string_view path, std::uint64_t sector) {
  const std::scoped_lock lock(state_->mutex);
  Node& node = state_->file_at(path);
  const std::size_t i = state_->sector_of(node, sector);
  for (Bytes* bytes : {&node.cached, &node.platter}) std::ranges::fill(node.sector(*bytes, i), std::byte{});
}

void SimDisk::copy_sector(std::string_view from, std::uint64_t from_sector, std::string_view to,
                          std::uint64_t to_sector) {
  const std::scoped_lock lock(state_->mutex);
  Node& source = state_->file_at(from);
  Node& target = state_->file_at(to);
  const std::size_t i = state_->sector_of(source, from_sector);
  const std::size_t j = state_->sector_of(target, to_sector);
  for (const auto bytes : {&Node::cached, &Node::platter}) {
    const auto out = target.sector(target.*bytes, j);
    const auto in = source.sector(source.*bytes, i);
    const std::size_t common = std::min(in.size(), out.size());
    std::ranges::copy(in.first(common), out.begin());
    std::ranges::fill(out.subspan(common), std::byte{});
  }
  // What is past the durable end stays zeros.
  if (target.durable_size < target.platter.size()) target.set_platter(target.durable_size);
}

void SimDisk::break_sector(std::string_view path, std::uint64_t sector) {
  const std::scoped_lock lock(state_->mutex);
  Node& node = state_->file_at(path);
  node.broken.insert(state_->sector_of(node, sector));
}

void SimDisk::truncate(std::string_view path, std::uint64_t size) {
  const std::scoped_lock lock(state_->mutex);
  if (size > max_file_bytes) throw std::invalid_argument("SimDisk: a file cannot be that long");
  Node& node = state_->file_at(path);
  node.set_platter(size);
  node.cached.resize(static_cast<std::size_t>(size));
  node.dirty.cut(sectors_of(size));
  node.release(size);
  node.durable_reserved = node.reserved;
  node.shortest = node.longest = size;
}

void SimDisk::swap_files(std::string_view one, std::string_view other) {
  const std::scoped_lock lock(state_->mutex);
  state_->swap_files(one, other);
}

void SimDisk::remove_file(std::string_view path) {
  const std::scoped_lock lock(state_->mutex);
  state_->remove_file(path);
}

void SimDisk::put_file(std::string_view path, std::span<const std::byte> bytes) {
  const std::scoped_lock lock(state_->mutex);
  state_->put_file(path, bytes);
}

std::vector<std::byte> SimDisk::durable(std::string_view path) const {
  const std::scoped_lock lock(state_->mutex);
  const Node& node = state_->durable_file_at(path);
  return {node.platter.begin(), node.platter.begin() + static_cast<std::ptrdiff_t>(node.durable_size)};
}

Snapshot SimDisk::snapshot() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->snapshot();
}

void SimDisk::restore(const Snapshot& snapshot) {
  const std::scoped_lock lock(state_->mutex);
  state_->restore(snapshot);
}

Counters SimDisk::counters() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->counters();
}

std::uint64_t SimDisk::trace_hash() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->trace_hash();
}

}  // namespace bus::simulation

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Which messages a log has already taken, so that a producer that sends one again, as it does not know what became of
// it, is told the offset, and no second copy is written.
//
// A message is known again by its producer's sequence, or else by its id. By sequence all that is kept of a producer is
// where it stands, and the offsets of the last few. By id it is a window for each sender: the last so many, as long as
// they are not too old. What is known follows from what stands in the log alone, in its order: so it is the same after
// a restart, which reads a snapshot and the records behind it.
//
//               begin               commit
//     (sender) -------> under way ----------> known ------> (forgotten: too many, or too old)
//                           |
//                           +----------> (as if it had never come)
//                               cancel
//
// Nothing in here knows a clock, a file or a thread: the caller locks, and wall times come with the calls. A time that
// is further ahead than the window is old, so that a clock that once was wrong does no harm for long.
//
// Of an id and of a sender's name a hash of 128 bits is kept. With 100,000 ids in a window, the chance that a new one
// is taken for one of them is 3 in 10^34; that two of a million senders share a window, 1 in 10^27. The hash is no
// cipher: one who tries can make two ids that are the same, but so he can send the same id twice.
#pragma once

#include <bus/persistence/record.hpp>

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::detail {

struct DedupRules {
  std::size_t ids_per_sender = 100'000;
  std::int64_t id_age_ns = 120'000'000'000;  ///< one of just that age still counts
  std::size_t ids = 1'000'000;  ///< of all senders, at some 60 bytes each; then the oldest go, whosever they are
  std::size_t producers = 10'000;  ///< at some 600 bytes each; then the one goes that has been idle the longest
};

/// What a message is known again by: the producer, or else the id. One that has neither is always fresh.
struct DedupKey {
  std::optional<Producer> producer = {};
  std::string_view source = {};  ///< whose the id is; those who say none are one sender
  std::string_view message_id = {};
  bool empty() const noexcept { return !producer && message_id.empty(); }
};

struct RecordFields;

/// By which a record is known that has these fields. It has none if it settles a message: that is done once anyway, and
/// it carries the id of another.
DedupKey key_of(const RecordFields& fields) noexcept;

class Dedup {
 public:
  /// The sequences of a producer whose offsets are known.
  static constexpr std::size_t history = 64;

  explicit Dedup(const DedupRules& rules);
  Dedup(const Dedup&) = delete;
  Dedup& operator=(const Dedup&) = delete;

  // --- Messages that come. ---

  enum class Verdict : std::uint8_t {
    fresh,  ///< it is under way now
    duplicate,  ///< it stands in the log
    under_way,  ///< a duplicate of one that has not been committed or canceled yet
    fenced,  ///< a later epoch of the producer has come
    gap,  ///< refused: it is not the next, nor is it known to be there
  };
  struct Answer {
    Verdict verdict = Verdict::fresh;
    std::optional<std::uint64_t> offset = {};  ///< of a duplicate; none: it is further back than the history
    std::uint64_t ticket = 0;  ///< of the one under way
    std::uint64_t expected = 0;  ///< fenced: the least epoch; gap: the sequence that has to come first
  };

  /// Judges a message, and notes it as under way if it is fresh. `ticket` is any number that is not under way.
  ///
  /// By sequence: what is under way counts as taken. A producer that is not known, and one in a higher epoch, begins at
  /// any sequence; then each must be one more than the last. What is at or below the last is a duplicate if it is
  /// there, or further back than the history. By id: a duplicate is one in the sender's window, and one under way, for
  /// however long.
  ///
  /// Cost:   O(1), amortised; allocates when there have never been as many.
  /// Errors: throws std::bad_alloc; nothing has changed then.
  Answer begin(const DedupKey& key, std::uint64_t ticket, std::int64_t now_ns);

  /// Makes known what was under way. Offsets must rise from one commit to the next, and a producer's sequences with
  /// them: what a snapshot is behind goes by that. Passes over a ticket that is not under way.
  /// Cost: O(1). Does not allocate.
  void commit(std::uint64_t ticket, std::uint64_t offset) noexcept;

  /// Forgets what was under way. Of a producer, what is under way behind it in its epoch is forgotten too: the log must
  /// not have it without this one. The caller must cancel those tickets as well, sooner or later, or do nothing more
  /// with them; it may not commit their records. So the producer goes on with the sequence that was canceled.
  /// Passes over a ticket that is not under way.
  /// Cost: O(what it forgets). Does not allocate.
  void cancel(std::uint64_t ticket) noexcept;

  // --- After a restart. ---

  /// Takes a record that stands in the log, in the order of offsets, before anything is under way. What is in front of
  /// `next` is passed over, as it has been taken. `time_ns` is when the log took it, by the wall.
  /// Cost:   O(1), amortised.
  /// Errors: throws std::bad_alloc; nothing has changed then.
  void restore(const DedupKey& key, std::uint64_t offset, std::int64_t time_ns);

  /// The bodies of the snapshot frames of what is known, to be written in this order: at least one, and none longer
  /// than `frame_bytes`, which must be at least `min_frame_bytes`. What is under way is not in it, nor what is too old.
  /// Takes some 20 bytes for an id, and 100 to 150 for a producer that is busy.
  /// Cost: O(n). Errors: throws std::bad_alloc.
  std::vector<std::vector<std::byte>> encode(std::int64_t now_ns, std::size_t frame_bytes) const;
  static constexpr std::size_t min_frame_bytes = 1024;

  /// The first byte of such a frame, among the kinds of frames that make a snapshot.
  static constexpr std::byte frame_kind{2};

  // --- Where it stands. ---

  /// Behind the last offset that was committed or restored: where the log must be read from after a restart.
  std::uint64_t next() const noexcept { return next_; }
  std::size_t ids() const noexcept { return ids_; }  ///< also such as are too old, and have not been cleared away
  std::size_t producers() const noexcept { return producers_; }
  std::size_t under_way() const noexcept { return tickets_.size(); }

  /// Whether every count is what its parts make, and all is found by what it is known by. For tests: O(n).
  bool consistent() const;

 private:
  friend class DedupReader;

  using Index = std::uint32_t;
  static constexpr Index none = 0xFFFF'FFFF;
  static constexpr Index not_listed = none - 1;

  struct Hash {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    friend bool operator==(const Hash&, const Hash&) = default;
  };

  struct Id {
    struct Key {
      Hash id;
      Index sender = none;
      std::size_t hash() const noexcept { return static_cast<std::size_t>(id.low + sender); }
      friend bool operator==(const Key&, const Key&) = default;
    };
    Key key() const noexcept { return {.id = id, .sender = sender}; }
    bool is_under_way() const noexcept { return newer_of_sender == not_listed; }

    Hash id;
    std::uint64_t number = 0;  // the offset; the ticket, while it is under way
    std::int64_t time_ns = 0;  // when it began
    Index sender = none;
    Index newer_of_sender = none;  // by offset
    Index older = none, newer = none;  // of all, by offset
  };
  static_assert(sizeof(Id) == 48);

  /// There as long as it has an id, known or under way.
  struct Sender {
    struct Key {
      Hash name;
      std::size_t hash() const noexcept { return static_cast<std::size_t>(name.low); }
      friend bool operator==(const Key&, const Key&) = default;
    };
    Key key() const noexcept { return {name}; }

    Hash name;
    Index oldest = none;
    Index newest = none;
    std::uint32_t ids = 0;
    std::uint32_t under_way = 0;
  };

  /// There as long as it is known, or has something under way.
  struct Known {
    std::uint64_t id = 0;
    std::uint64_t last = 0;  // sequence
    std::uint64_t has =
        0;  // of the bits from the lowest: whether the offset of `last`, of the one before it ... is known
    std::uint32_t epoch = 0;
    bool known = false;  // else there is only what is under way
    Index idler = none, busier = none;  // of all that are known, by their last offset
    Index first = none, last_under_way = none;
    std::array<std::uint64_t, history> offsets;  // of a sequence, at its remainder
  };

  /// A sequence under way.
  struct Step {
    struct Key {
      Index producer = none;
      std::uint32_t epoch = 0;
      std::uint64_t sequence = 0;
      std::size_t hash() const noexcept {
        return static_cast<std::size_t>(sequence + (std::uint64_t{producer} << 40) + (std::uint64_t{epoch} << 32));
      }
      friend bool operator==(const Key&, const Key&) = default;
    };
    const Key& key() const noexcept { return what; }

    Key what;
    std::uint64_t ticket = 0;
    Index before = none, behind = none;  // of the producer, by epoch and sequence
  };

  /// Items that keep their place; those that are free hang together by `Next`.
  template <class T, Index T::* Next, std::size_t Chunk>
  class Pool {
   public:
    T& operator[](Index i) noexcept { return chunks_[i / Chunk][i % Chunk]; }
    const T& operator[](Index i) const noexcept { return chunks_[i / Chunk][i % Chunk]; }

    /// Sees to it that there is a free one. Errors: throws std::bad_alloc.
    void reserve_one() {
      if (free_ != none) return;
      if (chunks_.size() >= not_listed / Chunk) throw std::bad_alloc();
      const auto begin = static_cast<Index>(chunks_.size() * Chunk);
      chunks_.push_back(std::make_unique<T[]>(Chunk));
      for (auto i = static_cast<Index>(begin + Chunk); i-- != begin;) (*this)[i].*Next = std::exchange(free_, i);
    }
    Index take() noexcept {
      const Index i = std::exchange(free_, (*this)[free_].*Next);
      (*this)[i] = T();
      return i;
    }
    void give(Index i) noexcept { (*this)[i].*Next = std::exchange(free_, i); }

   private:
    std::vector<std::unique_ptr<T[]>> chunks_;
    Index free_ = none;
  };

  /// A set of a pool's items, found by their keys. One can be put into the place of another with the same key.
  struct Place {
    mutable Index index;
  };
  template <class T, class Of>
  struct ByKey {
    using is_transparent = void;
    const Of* pool;
    std::size_t operator()(const Place& place) const noexcept { return (*pool)[place.index].key().hash(); }
    std::size_t operator()(const typename T::Key& key) const noexcept { return key.hash(); }
    bool operator()(const Place& a, const Place& b) const noexcept { return (*this)((*pool)[a.index].key(), b); }
    bool operator()(const typename T::Key& key, const Place& b) const noexcept { return key == (*pool)[b.index].key(); }
    bool operator()(const Place& a, const typename T::Key& key) const noexcept { return (*this)(key, a); }
  };
  template <class T, class Of>
  using Set = boost::unordered_flat_set<Place, ByKey<T, Of>, ByKey<T, Of>>;

  using Ids = Pool<Id, &Id::newer, 1024>;
  using Senders = Pool<Sender, &Sender::oldest, 64>;
  using Producers = Pool<Known, &Known::busier, 16>;
  using Steps = Pool<Step, &Step::behind, 256>;

  struct Ticket {
    Index index = none;
    bool of_sequence = false;
  };

  static Hash hash_of(std::string_view text) noexcept;
  bool is_old(const Id& id, std::int64_t now_ns) const noexcept;
  Index find_id(const Hash& source, const Hash& id) const noexcept;
  Index sender_of(const Hash& source);
  Index make_id(const Hash& source, const Hash& id, std::int64_t time_ns);
  void list_id(Index i, std::uint64_t offset) noexcept;
  void drop_id(Index i) noexcept;
  void forget_id(Index i) noexcept;
  void forget_sender(Index i) noexcept;
  void clear_old(std::int64_t now_ns) noexcept;
  Answer begin_id(const DedupKey& key, std::uint64_t ticket, std::int64_t now_ns);

  Index find_producer(std::uint64_t id) const noexcept;
  Index producer_of(std::uint64_t id);
  Answer judge(Index i, const Producer& given) const noexcept;
  Answer begin_sequence(const Producer& given, std::uint64_t ticket);
  void note(Index i, std::uint32_t epoch, std::uint64_t sequence, std::uint64_t offset) noexcept;
  void make_busiest(Index i) noexcept;
  void unlist(Index i) noexcept;
  void drop_step(Index i) noexcept;
  void forget_producer(Index i) noexcept;

  class Encoder;
  class Decoder;
  bool take_items(Decoder& in);
  bool take_producer(Decoder& in);

  const DedupRules rules_;
  std::uint64_t next_ = 0;

  Ids id_pool_;
  Senders sender_pool_;
  Set<Id, Ids> by_id_;
  Set<Sender, Senders> by_name_;
  Index oldest_ = none;
  Index newest_ = none;
  std::size_t ids_ = 0;

  Producers producer_pool_;
  Steps step_pool_;
  boost::unordered_flat_map<std::uint64_t, Index> by_producer_;
  Set<Step, Steps> by_sequence_;
  Index idlest_ = none;
  Index busiest_ = none;
  std::size_t producers_ = 0;

  boost::unordered_flat_map<std::uint64_t, Ticket> tickets_;
};

/// Puts a snapshot's frames together again.
class DedupReader {
 public:
  explicit DedupReader(const DedupRules& rules) noexcept : rules_(rules) {}

  /// Takes the frames of snapshots in the order they stand in the log. A first one begins anew; what is whole stays
  /// until a later one is. One that makes no sense, or does not follow the last, ends the snapshot it would be of.
  /// Returns: whether a snapshot is whole with this frame.
  /// Cost:    O(n), and memory as the rules say, whatever the bytes.
  /// Errors:  throws std::bad_alloc; that snapshot is given up then.
  bool add(std::span<const std::byte> frame);

  /// Returns: what the last whole snapshot says; null if there was none, or it has been taken.
  std::unique_ptr<Dedup> take() noexcept { return std::move(whole_); }

 private:
  DedupRules rules_;
  std::unique_ptr<Dedup> whole_;
  std::unique_ptr<Dedup> building_;
  std::uint32_t part_ = 0;  // the next
  std::uint32_t parts_ = 0;
};

}  // namespace bus::detail

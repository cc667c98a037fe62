// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A snapshot of what has been taken. A number without a size is a varint: seven bits to a byte, the lowest first, the
// eighth bit says that more follow.
//
//   frame     [u8 2][u32 part][u32 parts][u64 next][item]...
//   producer  [0][u64 id][epoch][last sequence][u64 has][of each bit in has, from the lowest: how far its offset is in
//             front of the one before; the first: of next]
//   id        [1 and, 16 bytes, a sender that is new to the frame; or 2 + the how manieth of the frame's it is]
//             [16 bytes of hash][offset, since the id before][time, likewise, its sign in the lowest bit]
//
// Producers stand in the order of idleness, the idlest first; ids by offset.
#include "persistence/dedup.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

namespace bus::detail {
namespace {

constexpr std::size_t frame_head_bytes = 1 + 4 + 4 + 8;
constexpr std::size_t max_varint_bytes = 10;

enum Item : std::uint64_t { producer_item = 0, new_sender = 1, first_sender = 2 };

}  // namespace

class Dedup::Encoder {
 public:
  explicit Encoder(const Dedup& of, std::size_t frame_bytes) : of_(of), frame_bytes_(frame_bytes) { begin_frame(); }

  void producer(const Known& producer) {
    constexpr std::size_t most = 1 + 8 + 5 + max_varint_bytes + 8 + history * max_varint_bytes;
    static_assert(frame_head_bytes + most <= min_frame_bytes);
    make_room(most);
    varint(producer_item);
    fixed(producer.id);
    varint(producer.epoch);
    varint(producer.last);
    fixed(producer.has);
    std::uint64_t behind = of_.next_;
    for (std::uint64_t has = producer.has; has != 0; has &= has - 1) {
      const std::uint64_t sequence = producer.last - static_cast<std::uint64_t>(std::countr_zero(has));
      const std::uint64_t offset = producer.offsets[sequence % history];
      varint(behind - offset);
      behind = offset;
    }
  }

  void id(const Id& id) {
    make_room(2 * sizeof(Hash) + 3 * max_varint_bytes);
    const auto [sender, is_new] = senders_.try_emplace(id.sender, first_sender + senders_.size());
    if (is_new) {
      varint(new_sender);
      hash(of_.sender_pool_[id.sender].name);
    } else {
      varint(sender->second);
    }
    hash(id.id);
    varint(id.number - offset_);
    const std::uint64_t since = static_cast<std::uint64_t>(id.time_ns) - time_;
    varint(since << 1 ^ (0 - (since >> 63)));
    offset_ = id.number;
    time_ = static_cast<std::uint64_t>(id.time_ns);
  }

  std::vector<std::vector<std::byte>> take() {
    for (std::size_t part = 0; part < frames_.size(); ++part) {
      put(frames_[part].data() + 1, static_cast<std::uint32_t>(part));
      put(frames_[part].data() + 5, static_cast<std::uint32_t>(frames_.size()));
    }
    return std::move(frames_);
  }

 private:
  void begin_frame() {
    frames_.emplace_back();
    frames_.back().push_back(frame_kind);
    fixed(std::uint32_t{0});
    fixed(std::uint32_t{0});
    fixed(of_.next_);
    senders_.clear();
    offset_ = 0;
    time_ = 0;
  }
  void make_room(std::size_t bytes) {
    if (frames_.back().size() + bytes > frame_bytes_) begin_frame();
  }

  template <class T>
  static void put(std::byte* out, T value) noexcept {
    for (std::size_t i = 0; i < sizeof value; ++i) out[i] = static_cast<std::byte>(value >> (8 * i) & 0xFF);
  }
  template <class T>
  void fixed(T value) {
    std::array<std::byte, sizeof value> bytes;
    put(bytes.data(), value);
    frames_.back().insert(frames_.back().end(), bytes.begin(), bytes.end());
  }
  void hash(const Hash& value) {
    fixed(value.low);
    fixed(value.high);
  }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) frames_.back().push_back(static_cast<std::byte>(value | 0x80));
    frames_.back().push_back(static_cast<std::byte>(value));
  }

  const Dedup& of_;
  const std::size_t frame_bytes_;
  std::vector<std::vector<std::byte>> frames_;
  boost::unordered_flat_map<Index, std::uint64_t> senders_;  // of the frame
  std::uint64_t offset_ = 0;  // of the id before
  std::uint64_t time_ = 0;
};

/// Reads bytes that may be any. Once they were too few, or no number, it is no longer `sound`, and reads zeros.
class Dedup::Decoder {
 public:
  explicit Decoder(std::span<const std::byte> in) noexcept : in_(in) {}

  template <class T>
  T fixed() noexcept {
    T value = 0;
    const bool enough = in_.size() >= sizeof value;
    if (!enough) return give_up(), value;
    for (std::size_t i = 0; i < sizeof value; ++i) {
      value = static_cast<T>(value | static_cast<T>(std::to_integer<T>(in_[i]) << (8 * i)));
    }
    in_ = in_.subspan(sizeof value);
    return value;
  }
  Hash hash() noexcept {
    const auto low = fixed<std::uint64_t>();
    return {.low = low, .high = fixed<std::uint64_t>()};
  }
  std::uint64_t varint() noexcept {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = fixed<std::uint8_t>();
      if (shift == 63 && byte > 1) break;
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    give_up();
    return 0;
  }

  bool sound() const noexcept { return sound_; }
  bool empty() const noexcept { return in_.empty(); }
  void give_up() noexcept {
    sound_ = false;
    in_ = {};
  }

 private:
  std::span<const std::byte> in_;
  bool sound_ = true;
};

std::vector<std::vector<std::byte>> Dedup::encode(std::int64_t now_ns, std::size_t frame_bytes) const {
  assert(frame_bytes >= min_frame_bytes);
  Encoder out(*this, frame_bytes);
  for (Index i = idlest_; i != none; i = producer_pool_[i].busier) out.producer(producer_pool_[i]);
  Index i = oldest_;
  while (i != none && is_old(id_pool_[i], now_ns)) i = id_pool_[i].newer;
  for (; i != none; i = id_pool_[i].newer) out.id(id_pool_[i]);
  return out.take();
}

bool Dedup::take_producer(Decoder& in) {
  const auto id = in.fixed<std::uint64_t>();
  const std::uint64_t epoch = in.varint();
  const std::uint64_t last = in.varint();
  const auto has = in.fixed<std::uint64_t>();
  const auto furthest = static_cast<std::uint64_t>(std::bit_width(has)) - 1;
  if (!in.sound() || epoch > 0xFFFF'FFFF || (has & 1) == 0 || furthest > last || find_producer(id) != none)
    return false;
  std::array<std::uint64_t, history> offsets{};
  std::uint64_t behind = next_;
  for (std::uint64_t rest = has; rest != 0; rest &= rest - 1) {
    const std::uint64_t sequence = last - static_cast<std::uint64_t>(std::countr_zero(rest));
    behind -= in.varint();
    if (behind >= next_) return false;
    offsets[sequence % history] = behind;
  }
  if (!in.sound()) return false;
  const Index i = producer_of(id);
  Known& producer = producer_pool_[i];
  producer.epoch = static_cast<std::uint32_t>(epoch);
  producer.last = last;
  producer.has = has;
  producer.offsets = offsets;
  make_busiest(i);
  return true;
}

/// Returns: whether they make sense.
bool Dedup::take_items(Decoder& in) {
  std::vector<Hash> senders;
  std::uint64_t offset = 0;
  std::uint64_t time = 0;
  while (!in.empty()) {
    const std::uint64_t item = in.varint();
    if (item == producer_item && in.sound()) {
      if (!take_producer(in)) return false;
      continue;
    }
    if (item == new_sender) senders.push_back(in.hash());
    const std::uint64_t sender = item == new_sender ? senders.size() - 1 : item - first_sender;
    const Hash id = in.hash();
    offset += in.varint();
    const std::uint64_t since = in.varint();
    time += since >> 1 ^ (0 - (since & 1));
    if (!in.sound() || sender >= senders.size() || offset >= next_) return false;
    list_id(make_id(senders[sender], id, static_cast<std::int64_t>(time)), offset);
  }
  return in.sound();
}

bool DedupReader::add(std::span<const std::byte> frame) {
  Dedup::Decoder in(frame);
  const std::byte kind{in.fixed<std::uint8_t>()};
  const auto part = in.fixed<std::uint32_t>();
  const auto parts = in.fixed<std::uint32_t>();
  const auto next = in.fixed<std::uint64_t>();
  auto building = std::exchange(building_, nullptr);
  if (!in.sound() || kind != Dedup::frame_kind || part >= parts) return false;
  if (part == 0) {
    building = std::make_unique<Dedup>(rules_);
    building->next_ = next;
    part_ = 0;
    parts_ = parts;
  }
  if (building == nullptr || part != part_ || parts != parts_ || next != building->next_) return false;
  if (!building->take_items(in)) return false;
  if (++part_ == parts_) {
    whole_ = std::move(building);
    return true;
  }
  building_ = std::move(building);
  return false;
}

}  // namespace bus::detail

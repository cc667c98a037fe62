// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Objects of the program's own types travel as they are: shared, immutable, not encoded. The schema gives a type its
// name, and its bytes for when an event leaves the process.
#include <bus/bus.hpp>
#include <bus/typed.hpp>

#include <cstring>
#include <iostream>
#include <string>

struct Thought {
  double confidence = 0;
  std::string text;
};

template <>
struct bus::Schema<Thought> {
  static constexpr std::string_view name = "agent.thought";
  static constexpr std::uint32_t version = 1;

  static std::size_t size(const Thought& thought) { return sizeof thought.confidence + thought.text.size(); }

  static void encode(const Thought& thought, std::span<std::byte> out) {
    std::memcpy(out.data(), &thought.confidence, sizeof thought.confidence);
    std::memcpy(out.data() + sizeof thought.confidence, thought.text.data(), thought.text.size());
  }

  static bus::result<Thought> decode(std::span<const std::byte> in) {
    Thought thought;
    if (in.size() < sizeof thought.confidence) return bus::make_error_code(bus::errc::decode_failed);
    std::memcpy(&thought.confidence, in.data(), sizeof thought.confidence);
    in = in.subspan(sizeof thought.confidence);
    thought.text.assign(reinterpret_cast<const char*>(in.data()), in.size());
    return thought;
  }
};

int main() {
  bus::Bus hub;
  auto thoughts = hub.typed<Thought>("agent.v1.thought");
  auto rx = thoughts.subscribe("critic");

  thoughts.send(Thought{0.9, "the door is open"});
  thoughts.send(Thought{0.2, "it may rain"});
  hub.close();

  int received = 0;
  while (auto got = rx.recv()) {
    const Thought& thought = *got;
    std::cout << thought.text << " (" << thought.confidence << ")\n";
    ++received;
  }

  // What a log or a bridge would do with it.
  const auto payload = bus::Payload::object(Thought{0.5, "encoded and back"});
  const auto copy = payload.encoded().decode<Thought>();
  return received == 2 && copy && copy->text == "encoded and back" ? 0 : 1;
}

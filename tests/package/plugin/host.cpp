// SPDX-License-Identifier: MIT OR Apache-2.0
//
// host MAKER READER GONE
//
// Objects that were made in one plugin are read in another, which then goes; and in the end the maker goes, once
// nothing that it made is left. GONE is 1 if a plugin that is closed must be out of the process then.
#include <bus/bus.hpp>

#include <dlfcn.h>

#include <cstdlib>
#include <iostream>
#include <optional>
#include <string_view>

#include "letter.hpp"

namespace {

void check(bool good, std::string_view what) {
  if (good) return;
  std::cerr << "not so: " << what << '\n';
  std::exit(1);
}

class Plugin {
 public:
  explicit Plugin(const char* path) : path_(path), handle_(dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) std::cerr << dlerror() << '\n';
    check(handle_ != nullptr, "the plugin can be loaded");
  }

  template <class F>
  F* function(const char* name) const {
    auto* found = reinterpret_cast<F*>(dlsym(handle_, name));
    check(found != nullptr, name);
    return found;
  }

  void unload(bool gone) {
    check(dlclose(handle_) == 0, "the plugin can be closed");
    if (gone) check(dlopen(path_, RTLD_NOW | RTLD_NOLOAD) == nullptr, "it is out of the process");
  }

 private:
  const char* path_;
  void* handle_;
};

}  // namespace

int main(int, char** arguments) {
  const bool gone = arguments[3] == std::string_view("1");
  Plugin maker(arguments[1]);
  Plugin reader(arguments[2]);

  std::optional<bus::Bus> hub(std::in_place);
  std::optional<bus::Receiver> rx = hub->subscribe("host");
  {
    bus::Payload stamp;
    bus::Payload letter;
    maker.function<decltype(plugin_make)>("plugin_make")(stamp, letter);
    check(hub->send(bus::Message{.topic = "plugin.stamp", .payload = stamp}).has_value(), "the stamp is sent");
    check(hub->send(bus::Message{.topic = "plugin.letter", .payload = letter}).has_value(), "the letter is sent");
  }
  bus::EventRef first = rx->recv().keep();
  bus::EventRef second = rx->recv().keep();
  const bus::Payload& stamp = first->get_if<bus::Message>()->payload;
  const bus::Payload& letter = second->get_if<bus::Message>()->payload;
  check(reader.function<decltype(plugin_read)>("plugin_read")(stamp, letter), "what one plugin made, the other reads");

  // The reader has left nothing behind.
  reader.unload(gone);
  check(letter.get_if<Letter>() != nullptr && letter.get_if<Letter>()->text.size() == 1000, "the host reads on");
  check(letter.encoded().size() == 1000, "and encodes by the schema of the maker");

  // The maker has: the functions of its schemas. What refers to them goes first, what the bus retains too.
  const bus::Payload bytes = letter.encoded();
  first = {};
  second = {};
  rx.reset();
  hub.reset();
  maker.unload(gone);
  const auto decoded = bytes.decode<Letter>();
  check(decoded && decoded->text.size() == 1000, "bytes outlive who made them");
}

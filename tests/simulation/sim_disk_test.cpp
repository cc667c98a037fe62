// SPDX-License-Identifier: MIT OR Apache-2.0
#include "simulation/sim_disk.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace bus::simulation {
namespace {

using boost::system::errc::errc_t;
using Bytes = std::vector<std::byte>;
using Open = Storage::Open;
using FilePtr = std::unique_ptr<File>;

constexpr std::size_t sector = SimDisk::sector_bytes;
constexpr std::uint64_t seeds = 300;
constexpr CrashOptions harshest{.tear_sectors = true, .zero_sectors = true, .stale_sectors = true};

Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}
std::string text_of(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
std::string sectors(char fill, std::size_t count = 1) { return std::string(count * sector, fill); }
const std::string nul(1, '\0');

FilePtr open(Storage& in, std::string_view name, Open how = Open::existing) {
  auto file = in.open(name, how);
  EXPECT_TRUE(file.has_value()) << name << ": " << file.error().message();
  return std::move(file).value();
}

void put(File& file, std::uint64_t position, std::string_view text) {
  EXPECT_EQ(write_at(file, position, std::as_bytes(std::span(text))), error_code());
}

std::string get(File& file) {
  Bytes bytes(static_cast<std::size_t>(file.size().value()));
  const auto got = read_at(file, 0, bytes);
  EXPECT_TRUE(got.has_value() && *got == bytes.size());
  return text_of(bytes);
}
std::string get(Storage& in, std::string_view name) { return get(*open(in, name, Open::existing_to_read)); }

std::set<std::string> names(Storage& in) {
  const auto all = in.list().value();
  return {all.begin(), all.end()};
}

/// A file with a durable name and this durable content.
FilePtr make(Storage& in, std::string_view name, std::string_view text = {}) {
  FilePtr file = open(in, name, Open::create);
  put(*file, 0, text);
  EXPECT_EQ(file->sync(), error_code());
  EXPECT_EQ(in.sync_names(), error_code());
  return file;
}

/// What `look` sees after a crash that follows `act`, with every seed.
std::set<std::string> outcomes(const CrashOptions& options, const std::function<void(SimDisk&, Storage&)>& act,
                               const std::function<std::string(Storage&)>& look) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    SimDisk disk(seed);
    act(disk, *disk.mount());
    disk.crash(options);
    seen.insert(look(*disk.mount()));
  }
  return seen;
}

// --- An ordinary disk ---

TEST(SimDisk, reads_what_was_written) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = open(*in, "a", Open::create);
  const std::array<Bytes, 3> parts{bytes_of("one,"), bytes_of(""), bytes_of("two")};
  const std::array<std::span<const std::byte>, 3> spans{parts[0], parts[1], parts[2]};
  EXPECT_EQ(file->write(2, spans).value(), 7U);
  EXPECT_EQ(file->size().value(), 9U);
  EXPECT_EQ(get(*file), nul + nul + "one,two");
  put(*file, 1, "x");
  EXPECT_EQ(get(*file), nul + "xone,two");
  std::array<std::byte, 4> tail{};
  EXPECT_EQ(file->read(7, tail).value(), 2U);
  EXPECT_EQ(file->read(9, tail).value(), 0U);
  EXPECT_EQ(file->read(1'000'000, tail).value(), 0U);
}

TEST(SimDisk, what_a_longer_file_gains_is_zeros) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = open(*in, "a", Open::create);
  put(*file, 0, "abcdef");
  EXPECT_EQ(file->resize(2), error_code());
  EXPECT_EQ(file->resize(4), error_code());
  EXPECT_EQ(get(*file), "ab" + nul + nul);
  EXPECT_EQ(file->sync(), error_code());
  EXPECT_EQ(in->sync_names(), error_code());
  EXPECT_EQ(text_of(disk.durable("a")), "ab" + nul + nul);
}

TEST(SimDisk, reserving_leaves_the_size) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a", "abc");
  EXPECT_EQ(file->reserve(10 * sector), error_code());
  EXPECT_EQ(get(*file), "abc");
}

TEST(SimDisk, says_what_is_wrong_with_a_name) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a");
  ASSERT_TRUE(in->directory("d").has_value());
  EXPECT_EQ(in->open("a", Open::create).error(), errc_t::file_exists);
  EXPECT_EQ(in->open("b", Open::existing).error(), errc_t::no_such_file_or_directory);
  EXPECT_EQ(in->open("d", Open::existing).error(), errc_t::is_a_directory);
  EXPECT_EQ(in->remove("b"), errc_t::no_such_file_or_directory);
  EXPECT_EQ(in->remove("d"), errc_t::is_a_directory);
  EXPECT_EQ(in->rename("b", "c"), errc_t::no_such_file_or_directory);
  EXPECT_EQ(in->rename("a", "d"), errc_t::is_a_directory);
  EXPECT_EQ(in->directory("a").error(), errc_t::not_a_directory);
  for (const auto name : {"", ".", "..", "a/b"}) {
    EXPECT_EQ(in->open(name, Open::create).error(), errc_t::invalid_argument) << name;
  }
  EXPECT_EQ(in->open(std::string(256, 'x'), Open::create).error(), errc_t::filename_too_long);
  EXPECT_EQ(in->rename("a", "a"), error_code());
  EXPECT_EQ(names(*in), std::set<std::string>{"a"});
  EXPECT_EQ(in->open("b", Open::existing).error().category(), boost::system::system_category());
}

TEST(SimDisk, lists_files_in_any_order_and_no_directories) {
  std::set<std::vector<std::string>> orders;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    SimDisk disk(seed);
    const auto in = disk.mount();
    for (const auto name : {"a", "b", "c"}) open(*in, name, Open::create);
    open(**in->directory("d"), "e", Open::create);
    orders.insert(in->list().value());
  }
  EXPECT_EQ(orders.size(), 6U);
  for (const auto& order : orders) EXPECT_TRUE(std::ranges::is_permutation(order, std::array{"a", "b", "c"}));
}

TEST(SimDisk, an_open_file_goes_on_without_its_name) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr one = make(*in, "a", "one");
  const FilePtr two = make(*in, "b", "two");
  EXPECT_EQ(in->rename("a", "b"), error_code());
  EXPECT_EQ(get(*in, "b"), "one");
  EXPECT_EQ(in->remove("b"), error_code());
  put(*one, 3, "!");
  EXPECT_EQ(get(*one), "one!");
  EXPECT_EQ(get(*two), "two");
  EXPECT_TRUE(names(*in).empty());
}

TEST(SimDisk, a_file_opened_to_read_cannot_be_changed) {
  SimDisk disk(1);
  const auto in = disk.mount();
  make(*in, "a", "abc");
  const FilePtr file = open(*in, "a", Open::existing_to_read);
  EXPECT_EQ(write_at(*file, 0, bytes_of("x")), errc_t::bad_file_descriptor);
  EXPECT_EQ(file->resize(1), errc_t::bad_file_descriptor);
  EXPECT_EQ(file->reserve(10), errc_t::bad_file_descriptor);
  EXPECT_EQ(get(*file), "abc");
}

TEST(SimDisk, refuses_what_is_beyond_its_limits) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = open(*in, "a", Open::create);
  const Bytes byte(1);
  const std::vector<std::span<const std::byte>> parts(File::max_parts + 1, byte);
  EXPECT_EQ(file->write(0, parts).error(), errc_t::invalid_argument);
  EXPECT_EQ(write_at(*file, SimDisk::max_file_bytes, byte), errc_t::file_too_large);
  EXPECT_EQ(write_at(*file, ~std::uint64_t{0}, byte), errc_t::file_too_large);
  EXPECT_EQ(file->resize(SimDisk::max_file_bytes + 1), errc_t::file_too_large);
  EXPECT_EQ(file->reserve(SimDisk::max_file_bytes + 1), errc_t::file_too_large);
  EXPECT_EQ(file->size().value(), 0U);
}

TEST(SimDisk, a_lock_has_one_holder) {
  SimDisk disk(1);
  const auto one = disk.mount();
  const auto other = disk.mount();
  EXPECT_FALSE(other->check_lock("lock"));
  auto held = one->lock("lock");
  ASSERT_TRUE(held.has_value());
  EXPECT_EQ(other->check_lock("lock"), errc_t::device_or_resource_busy);
  EXPECT_EQ(one->lock("lock").error(), errc_t::device_or_resource_busy);
  EXPECT_EQ(other->lock("lock").error(), errc_t::device_or_resource_busy);
  EXPECT_TRUE(other->lock("other").has_value());
  held.value().reset();
  EXPECT_FALSE(other->check_lock("lock"));
  EXPECT_TRUE(other->lock("lock").has_value());
}

// --- Power loss ---

TEST(SimDisk, what_was_synced_stays) {
  const std::string text = sectors('a', 5) + "tail";
  const auto act = [&](SimDisk&, Storage& in) {
    const FilePtr file = make(in, "a", text);
    put(*file, 2 * sector, sectors('b'));  // not synced
  };
  for (const std::string& seen : outcomes(harshest, act, [](Storage& in) { return get(in, "a"); })) {
    ASSERT_EQ(seen.size(), text.size());
    EXPECT_EQ(seen.substr(0, 2 * sector), sectors('a', 2));
    EXPECT_EQ(seen.substr(3 * sector), sectors('a', 2) + "tail");
  }
}

TEST(SimDisk, each_unsynced_sector_is_kept_or_lost) {
  const auto act = [](SimDisk&, Storage& in) {
    const FilePtr file = make(in, "a", sectors('a', 2));
    put(*file, 0, sectors('b', 2));
  };
  const std::set<std::string> all{sectors('a', 2), sectors('a') + sectors('b'), sectors('b') + sectors('a'),
                                  sectors('b', 2)};
  EXPECT_EQ(outcomes({}, act, [](Storage& in) { return get(in, "a"); }), all);
}

TEST(SimDisk, a_crash_keeps_as_much_as_it_is_told) {
  const auto act = [](SimDisk&, Storage& in) {
    const FilePtr file = make(in, "a", sectors('a', 9));
    put(*file, 100, sectors('b', 12));
    open(in, "b", Open::create);
  };
  const auto look = [](Storage& in) { return names(in).contains("b") ? "b" + get(in, "a") : get(in, "a"); };
  EXPECT_EQ(outcomes({.keep = 0}, act, look), std::set{sectors('a', 9)});
  EXPECT_EQ(outcomes({.keep = 1}, act, look), std::set{"b" + std::string(100, 'a') + sectors('b', 12)});
}

TEST(SimDisk, a_torn_sector_has_a_new_start_and_an_old_end) {
  const auto act = [](SimDisk&, Storage& in) {
    const FilePtr file = make(in, "a", sectors('a', 3));
    put(*file, 0, sectors('b', 3));
  };
  std::set<std::size_t> borders;
  for (const std::string& seen : outcomes({.tear_sectors = true}, act, [](Storage& in) { return get(in, "a"); })) {
    for (std::size_t i = 0; i < 3; ++i) {
      const std::string one = seen.substr(i * sector, sector);
      const std::size_t border = std::min(one.find('a'), sector);
      EXPECT_EQ(one, std::string(border, 'b') + std::string(sector - border, 'a'));
      borders.insert(border);
    }
  }
  EXPECT_GT(borders.size(), 20U);
}

TEST(SimDisk, unsynced_sectors_come_back_as_zeros_only_if_told) {
  const auto act = [](SimDisk&, Storage& in) {
    const FilePtr file = make(in, "a", sectors('a', 2));
    put(*file, 0, sectors('b'));
  };
  const auto look = [](Storage& in) { return get(in, "a"); };
  const std::set<std::string> usual{sectors('a', 2), sectors('b') + sectors('a')};
  EXPECT_EQ(outcomes({}, act, look), usual);
  std::set<std::string> zeroed = usual;
  zeroed.insert(sectors('\0') + sectors('a'));
  EXPECT_EQ(outcomes({.zero_sectors = true}, act, look), zeroed);
}

TEST(SimDisk, the_size_is_an_old_one_or_a_new_one_or_between) {
  const auto act = [](SimDisk&, Storage& in) {
    const FilePtr file = make(in, "a", std::string(1000, 'a'));
    put(*file, 1000, std::string(1000, 'a'));
  };
  std::set<std::size_t> sizes;
  for (const std::string& seen : outcomes({}, act, [](Storage& in) { return get(in, "a"); })) {
    EXPECT_EQ(seen.substr(0, 1000), std::string(1000, 'a'));
    EXPECT_EQ(seen.find_first_not_of(std::string_view("a\0", 2)), std::string::npos);
    sizes.insert(seen.size());
  }
  EXPECT_EQ(*sizes.begin(), 1000U);
  EXPECT_EQ(*sizes.rbegin(), 2000U);
  EXPECT_GT(sizes.size(), 20U);
}

TEST(SimDisk, a_file_cut_and_written_again_may_be_found_empty_or_as_it_was) {
  const auto act = [](SimDisk&, Storage& in) {
    const FilePtr file = make(in, "a", "old");
    EXPECT_EQ(file->resize(0), error_code());
    put(*file, 0, "new");
  };
  const auto seen = outcomes({}, act, [](Storage& in) { return get(in, "a"); });
  for (const auto one : {"", "old", "new"}) EXPECT_TRUE(seen.contains(one)) << one;
}

TEST(SimDisk, what_was_cut_off_does_not_come_back_when_the_cut_was_synced) {
  const auto act = [](SimDisk&, Storage& in) {
    const FilePtr file = make(in, "a", "abcdef");
    EXPECT_EQ(file->resize(2), error_code());
    EXPECT_EQ(file->sync(), error_code());
    EXPECT_EQ(file->resize(4), error_code());
  };
  EXPECT_EQ(outcomes({}, act, [](Storage& in) { return get(in, "a"); }),
            (std::set<std::string>{"ab", "ab" + nul, "ab" + nul + nul}));
}

TEST(SimDisk, a_file_made_empty_and_long_again_is_durably_zeros) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a", sectors('a', 3));
  EXPECT_EQ(file->resize(0), error_code());
  EXPECT_EQ(file->resize(3 * sector), error_code());
  EXPECT_EQ(file->sync(), error_code());
  EXPECT_EQ(text_of(disk.durable("a")), sectors('\0', 3));
}

TEST(SimDisk, sectors_never_synced_hold_what_was_there_before_only_if_told) {
  const auto act = [](SimDisk&, Storage& in) {
    make(in, "gone", sectors('g', 40));
    EXPECT_EQ(in.remove("gone"), error_code());
    EXPECT_EQ(in.sync_names(), error_code());
    const FilePtr file = make(in, "a", sectors('a'));
    EXPECT_EQ(file->resize(sector + 10), error_code());
    put(*file, 30 * sector, sectors('b'));
  };
  std::set<char> usual;
  std::set<char> stale;
  const auto look_into = [](std::set<char>& found) {
    return [&found](Storage& in) {
      const std::string text = get(in, "a");
      EXPECT_EQ(text.substr(0, sector), sectors('a'));
      found.insert(text.begin() + sector, text.end());
      return std::string();
    };
  };
  outcomes({}, act, look_into(usual));
  EXPECT_EQ(usual, (std::set{'\0', 'b'}));
  outcomes({.stale_sectors = true}, act, look_into(stale));
  EXPECT_TRUE(stale.contains('g'));
  EXPECT_GT(stale.size(), 100U);  // noise
}

TEST(SimDisk, a_hole_that_was_synced_stays_zeros) {
  const auto act = [](SimDisk&, Storage& in) {
    const FilePtr file = make(in, "a");
    EXPECT_EQ(file->resize(3 * sector), error_code());
    EXPECT_EQ(file->sync(), error_code());
  };
  EXPECT_EQ(outcomes(harshest, act, [](Storage& in) { return get(in, "a"); }), std::set{sectors('\0', 3)});
}

std::string all_names(Storage& in) {
  std::string all;
  for (const std::string& name : names(in)) all += name + '=' + get(in, name) + ' ';
  return all;
}

TEST(SimDisk, each_unsynced_name_is_kept_or_lost) {
  const auto act = [](SimDisk&, Storage& in) {
    make(in, "a");
    EXPECT_EQ(in.remove("a"), error_code());
    EXPECT_EQ(open(in, "b", Open::create)->sync(), error_code());
    EXPECT_EQ(open(in, "c", Open::create)->sync(), error_code());
  };
  EXPECT_EQ(outcomes({}, act, all_names).size(), 8U);
}

TEST(SimDisk, synced_names_stay) {
  const auto act = [](SimDisk&, Storage& in) {
    make(in, "a", "1");
    make(in, "b", "2");
    make(in, "c", "3");
    EXPECT_EQ(in.rename("a", "b"), error_code());
    EXPECT_EQ(in.remove("c"), error_code());
    EXPECT_EQ(in.sync_names(), error_code());
    EXPECT_EQ(in.rename("b", "d"), error_code());
  };
  EXPECT_EQ(outcomes(harshest, act, all_names), (std::set<std::string>{"b=1 ", "d=1 "}));
}

TEST(SimDisk, a_rename_happens_whole_or_not_at_all) {
  const auto act = [](SimDisk&, Storage& in) {
    make(in, "a", "1");
    make(in, "b", "2");
    EXPECT_EQ(in.rename("a", "b"), error_code());
  };
  EXPECT_EQ(outcomes({}, act, all_names), (std::set<std::string>{"a=1 b=2 ", "b=1 "}));
}

TEST(SimDisk, a_change_of_a_name_is_not_there_without_the_one_before_it) {
  const auto act = [](SimDisk&, Storage& in) {
    make(in, "a", "1");
    const FilePtr file = open(in, "b", Open::create);
    put(*file, 0, "2");
    EXPECT_EQ(file->sync(), error_code());
    EXPECT_EQ(in.rename("b", "a"), error_code());
    EXPECT_EQ(in.remove("a"), error_code());
  };
  EXPECT_EQ(outcomes({}, act, all_names), (std::set<std::string>{"a=1 ", "a=1 b=2 ", "a=2 ", ""}));
}

TEST(SimDisk, what_is_in_a_directory_goes_with_it) {
  const auto make_one = [](Storage& in) { make(**in.directory("d"), "a", "1"); };
  const auto look = [](Storage& in) { return all_names(**in.directory("d")); };
  EXPECT_EQ(outcomes({}, [&](SimDisk&, Storage& in) { make_one(in); }, look), (std::set<std::string>{"", "a=1 "}));
  const auto make_durable = [&](SimDisk&, Storage& in) {
    make_one(in);
    EXPECT_EQ(in.sync_names(), error_code());
  };
  EXPECT_EQ(outcomes({}, make_durable, look), std::set<std::string>{"a=1 "});
}

TEST(SimDisk, names_in_a_directory_are_durable_by_its_own_sync) {
  const auto act = [](SimDisk&, Storage& in) {
    const auto inner = in.directory("d").value();
    EXPECT_EQ(in.sync_names(), error_code());
    EXPECT_EQ(open(*inner, "a", Open::create)->sync(), error_code());
    EXPECT_EQ(in.sync_names(), error_code());
  };
  const auto look = [](Storage& in) { return all_names(**in.directory("d")); };
  EXPECT_EQ(outcomes({}, act, look), (std::set<std::string>{"", "a= "}));
}

TEST(SimDisk, what_was_opened_before_a_crash_is_dead) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a", "abc");
  auto held = in->lock("lock");
  ASSERT_TRUE(held.has_value());
  disk.crash();
  Bytes out(1);
  EXPECT_EQ(file->read(0, out).error(), errc_t::io_error);
  EXPECT_EQ(write_at(*file, 0, out), errc_t::io_error);
  EXPECT_EQ(file->sync(), errc_t::io_error);
  EXPECT_EQ(file->size().error(), errc_t::io_error);
  EXPECT_EQ(file->resize(1), errc_t::io_error);
  EXPECT_EQ(file->reserve(1), errc_t::io_error);
  EXPECT_EQ(in->open("a", Open::existing).error(), errc_t::io_error);
  EXPECT_EQ(in->list().error(), errc_t::io_error);
  EXPECT_EQ(in->rename("a", "b"), errc_t::io_error);
  EXPECT_EQ(in->remove("a"), errc_t::io_error);
  EXPECT_EQ(in->sync_names(), errc_t::io_error);
  EXPECT_EQ(in->lock("lock").error(), errc_t::io_error);
  EXPECT_EQ(in->directory("d").error(), errc_t::io_error);
  EXPECT_EQ(in->free_bytes().error(), errc_t::io_error);

  const auto again = disk.mount();
  const auto new_lock = again->lock("lock");
  EXPECT_TRUE(new_lock.has_value());
  held.value().reset();  // which is not the new one
  EXPECT_EQ(again->lock("lock").error(), errc_t::device_or_resource_busy);
  EXPECT_EQ(get(*again, "a"), "abc");
}

TEST(SimDisk, a_killed_process_loses_nothing_but_makes_nothing_durable) {
  SimDisk disk(1);
  const auto in = disk.mount();
  make(*in, "a", "old");
  put(*open(*in, "a"), 0, "new");
  auto held = in->lock("lock");
  disk.kill();
  EXPECT_EQ(in->list().error(), errc_t::io_error);
  const auto again = disk.mount();
  EXPECT_TRUE(again->lock("lock").has_value());
  EXPECT_EQ(get(*again, "a"), "new");
  disk.crash({.keep = 0});
  EXPECT_EQ(all_names(*disk.mount()), "a=old ");
}

// --- Faults ---

TEST(SimDisk, after_a_failed_sync_some_is_lost_for_good_and_nobody_is_told) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    SimDisk disk(seed);
    {
      const auto in = disk.mount();
      const FilePtr file = make(*in, "a", sectors('a', 2));
      put(*file, 0, sectors('b', 2));
      disk.fail({.call = Call::sync});
      EXPECT_EQ(file->sync(), errc_t::io_error);
      EXPECT_EQ(get(*file), sectors('b', 2));
      EXPECT_EQ(file->sync(), error_code());
      EXPECT_EQ(get(*file), sectors('b', 2));
      const std::string durable = text_of(disk.durable("a"));
      if (seed % 2 == 0) {
        disk.drop_caches();
        EXPECT_EQ(get(*file), durable);
      }
      disk.crash({.keep = 1});
      EXPECT_EQ(text_of(disk.durable("a")), durable);
    }
    seen.insert(get(*disk.mount(), "a"));
  }
  EXPECT_EQ(seen.size(), 4U);
}

TEST(SimDisk, a_failed_sync_may_or_may_not_have_made_the_size_durable) {
  std::set<std::size_t> sizes;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    SimDisk disk(seed);
    const auto in = disk.mount();
    const FilePtr file = make(*in, "a", "abc");
    put(*file, 3, "def");
    disk.fail({.call = Call::sync});
    EXPECT_EQ(file->sync(), errc_t::io_error);
    disk.crash({.keep = 0});
    sizes.insert(disk.durable("a").size());
  }
  EXPECT_EQ(sizes, (std::set<std::size_t>{3, 6}));
}

TEST(SimDisk, a_sector_lost_by_a_failed_sync_is_saved_by_writing_it_again) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a", sectors('a', 2));
  put(*file, 0, sectors('b', 2));
  disk.fail({.call = Call::sync, .error = errc_t::no_space_on_device});
  EXPECT_EQ(file->sync(), errc_t::no_space_on_device);
  put(*file, 0, sectors('b', 2));
  EXPECT_EQ(file->sync(), error_code());
  EXPECT_EQ(text_of(disk.durable("a")), sectors('b', 2));
}

TEST(SimDisk, after_a_failed_sync_of_names_some_are_lost_for_good) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    SimDisk disk(seed);
    const auto in = disk.mount();
    open(*in, "a", Open::create);
    open(*in, "b", Open::create);
    disk.fail({.call = Call::sync_names});
    EXPECT_EQ(in->sync_names(), errc_t::io_error);
    EXPECT_EQ(in->sync_names(), error_code());
    EXPECT_EQ(all_names(*in), "a= b= ");
    disk.crash({.keep = 1});
    seen.insert(all_names(*disk.mount()));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"", "a= ", "b= ", "a= b= "}));
}

TEST(SimDisk, dropping_caches_leaves_what_is_dirty) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a", sectors('a', 2));
  put(*file, sector, sectors('b') + "c");
  disk.drop_caches();
  EXPECT_EQ(get(*file), sectors('a') + sectors('b') + "c");
}

TEST(SimDisk, a_planned_fault_comes_at_its_call_and_does_nothing) {
  using Do = std::function<error_code(Storage&, File&)>;
  const std::vector<std::pair<Call, Do>> all{
      {Call::open, [](Storage& in, File&) { return in.open("a", Open::existing).error(); }},
      {Call::create, [](Storage& in, File&) { return in.open("new", Open::create).error(); }},
      {Call::read, [out = Bytes(1)](Storage&, File& f) mutable { return f.read(0, out).error(); }},
      {Call::write, [](Storage&, File& f) { return write_at(f, 0, bytes_of("x")); }},
      {Call::sync, [](Storage&, File& f) { return f.sync(); }},
      {Call::size, [](Storage&, File& f) { return f.size().error(); }},
      {Call::resize, [](Storage&, File& f) { return f.resize(1); }},
      {Call::reserve, [](Storage&, File& f) { return f.reserve(99); }},
      {Call::list, [](Storage& in, File&) { return in.list().error(); }},
      {Call::rename, [](Storage& in, File&) { return in.rename("a", "b"); }},
      {Call::remove, [](Storage& in, File&) { return in.remove("a"); }},
      {Call::sync_names, [](Storage& in, File&) { return in.sync_names(); }},
      {Call::lock, [](Storage& in, File&) { return in.lock("new").error(); }},
      {Call::directory, [](Storage& in, File&) { return in.directory("new").error(); }},
      {Call::free_bytes, [](Storage& in, File&) { return in.free_bytes().error(); }}};
  ASSERT_EQ(all.size(), call_kinds);
  for (const auto& [call, perform] : all) {
    SCOPED_TRACE(static_cast<int>(call));
    SimDisk disk(1);
    const auto in = disk.mount();
    const FilePtr file = make(*in, "a", "abc");
    const auto before = disk.snapshot();
    const auto calls_before = disk.counters()[call];
    disk.set_faults({.plans = {{.call = call, .error = errc_t::permission_denied, .for_good = true}}});
    for (int i = 0; i < 3; ++i) EXPECT_EQ(perform(*in, *file), errc_t::permission_denied);
    const auto calls = disk.counters()[call] - calls_before;
    disk.set_faults({});
    EXPECT_EQ(all_names(*in), "a=abc ");
    EXPECT_EQ(disk.snapshot(), before);
    EXPECT_EQ(calls, 3U);
    EXPECT_EQ(perform(*in, *file), error_code());
  }
}

TEST(SimDisk, a_planned_fault_counts_the_calls_of_its_kind) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a");
  disk.set_faults({.plans = {{.call = Call::write, .nth = 3}}});
  disk.fail({.call = Call::write, .nth = 4, .error = errc_t::no_space_on_device});
  const auto write = [&] { return write_at(*file, 0, bytes_of("x")); };
  EXPECT_EQ(write(), error_code());
  EXPECT_EQ(file->sync(), error_code());
  EXPECT_EQ(write(), error_code());
  EXPECT_EQ(write(), errc_t::io_error);
  EXPECT_EQ(write(), errc_t::no_space_on_device);
  EXPECT_EQ(write(), error_code());
}

TEST(SimDisk, a_full_disk_does_what_it_can) {
  SimDisk disk(1);
  disk.set_faults({.capacity_bytes = 10 * sector + 100});
  const auto in = disk.mount();
  EXPECT_EQ(in->free_bytes().value(), 10 * sector);
  const FilePtr one = make(*in, "a", sectors('a', 6) + "b");
  EXPECT_EQ(in->free_bytes().value(), 3 * sector);
  const FilePtr two = make(*in, "b");
  EXPECT_EQ(two->reserve(4 * sector), errc_t::no_space_on_device);
  EXPECT_EQ(in->free_bytes().value(), 3 * sector);

  const Bytes five = bytes_of(sectors('x', 5));
  const std::span<const std::byte> part = five;
  EXPECT_EQ(two->write(100, std::span(&part, 1)).value(), 3 * sector - 100);
  EXPECT_EQ(two->write(3 * sector, std::span(&part, 1)).error(), errc_t::no_space_on_device);
  EXPECT_EQ(two->resize(100 * sector), errc_t::no_space_on_device);
  EXPECT_EQ(write_at(*two, sector, part), errc_t::no_space_on_device);  // after a part
  put(*one, sector, sectors('c', 6));                                    // into room it has
  EXPECT_EQ(two->sync(), error_code());

  EXPECT_EQ(one->resize(2 * sector), error_code());
  EXPECT_EQ(in->free_bytes().value(), 5 * sector);
  put(*two, 0, sectors('d', 8));
  EXPECT_EQ(in->free_bytes().value(), 0U);
}

TEST(SimDisk, a_hole_takes_no_room_and_may_find_none) {
  SimDisk disk(1);
  disk.set_faults({.capacity_bytes = 10 * sector});
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a");
  EXPECT_EQ(file->resize(100 * sector), error_code());
  EXPECT_EQ(in->free_bytes().value(), 10 * sector);
  put(*file, 50 * sector, sectors('a', 10));
  EXPECT_EQ(write_at(*file, 0, bytes_of("x")), errc_t::no_space_on_device);
}

TEST(SimDisk, reserved_room_is_there_when_the_disk_is_full) {
  SimDisk disk(1);
  disk.set_faults({.capacity_bytes = 10 * sector});
  {
    const auto in = disk.mount();
    const FilePtr file = make(*in, "a");
    EXPECT_EQ(file->reserve(4 * sector), error_code());
    EXPECT_EQ(file->sync(), error_code());
    make(*in, "b", sectors('b', 6));
  }
  disk.crash({.keep = 0});
  const auto in = disk.mount();
  EXPECT_EQ(in->free_bytes().value(), 0U);
  const FilePtr file = open(*in, "a");
  put(*file, 0, sectors('a', 4));
  EXPECT_EQ(write_at(*file, 4 * sector, bytes_of("x")), errc_t::no_space_on_device);
  EXPECT_EQ(file->resize(sector), error_code());
  EXPECT_EQ(in->free_bytes().value(), 3 * sector);
}

TEST(SimDisk, a_reservation_not_synced_is_kept_or_lost) {
  for (const double keep : {0.0, 1.0}) {
    SimDisk disk(1);
    disk.set_faults({.capacity_bytes = 10 * sector});
    EXPECT_EQ(make(*disk.mount(), "a")->reserve(4 * sector), error_code());
    disk.crash({.keep = keep});
    EXPECT_EQ(disk.mount()->free_bytes().value(), (keep == 0 ? 10 : 6) * sector);
    EXPECT_EQ(open(*disk.mount(), "a")->resize(0), error_code());  // which gives it back
    EXPECT_EQ(disk.mount()->free_bytes().value(), 10 * sector);
    disk.crash({.keep = 0});
    EXPECT_EQ(disk.mount()->free_bytes().value(), (keep == 0 ? 10 : 6) * sector);
  }
}

TEST(SimDisk, writing_over_what_is_there_takes_no_room) {
  SimDisk disk(1);
  disk.set_faults({.capacity_bytes = 3 * sector});
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a", sectors('a'));
  put(*file, 2 * sector, sectors('a'));
  const Bytes text = bytes_of(sectors('b', 4));
  const std::span<const std::byte> part = text;
  EXPECT_EQ(file->write(0, std::span(&part, 1)).value(), 3 * sector);
  EXPECT_EQ(get(*file), sectors('b', 3));
}

TEST(SimDisk, a_removed_file_gives_its_room_back_when_it_is_closed) {
  SimDisk disk(1);
  disk.set_faults({.capacity_bytes = 10 * sector});
  const auto in = disk.mount();
  FilePtr file = make(*in, "a", sectors('a', 10));
  EXPECT_EQ(in->remove("a"), error_code());
  EXPECT_EQ(in->free_bytes().value(), 0U);
  file.reset();
  EXPECT_EQ(in->free_bytes().value(), 10 * sector);
}

TEST(SimDisk, room_of_a_removed_file_is_not_used_while_a_crash_can_bring_it_back) {
  for (const std::size_t needed : {1U, 5U}) {
    SimDisk disk(1);
    disk.set_faults({.capacity_bytes = 10 * sector});
    const auto in = disk.mount();
    make(*in, "a", sectors('a', 8));
    EXPECT_EQ(in->remove("a"), error_code());
    put(*open(*in, "b", Open::create), 0, sectors('b', needed));
    disk.crash({.keep = 0});
    EXPECT_EQ(names(*disk.mount()), std::set<std::string>{needed == 1 ? "a" : "b"});
  }
}

TEST(SimDisk, short_reads_and_writes_do_a_part) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = open(*in, "a", Open::create);
  disk.set_faults({.short_reads = 1, .short_writes = 0.5});
  const Bytes text = bytes_of(sectors('a', 4));
  const std::span<const std::byte> part = text;
  std::set<std::size_t> written;
  std::set<std::size_t> got;
  Bytes out(text.size());
  put(*file, 0, sectors('a', 4));
  for (int i = 0; i < 100; ++i) {
    written.insert(file->write(0, std::span(&part, 1)).value());
    got.insert(file->read(0, out).value());
  }
  EXPECT_GT(written.size(), 20U);
  EXPECT_TRUE(written.contains(text.size()));
  EXPECT_GT(got.size(), 50U);
  EXPECT_FALSE(written.contains(0) || got.contains(0));
  std::byte one{};
  EXPECT_EQ(file->read(0, std::span(&one, 1)).value(), 1U);
}

// --- Power off at an instant ---

/// Twelve calls that change something. Returns: how many succeeded.
int run_script(Storage& in) {
  int done = 0;
  FilePtr file;
  const auto step = [&](const error_code& code) {
    if (!code) ++done;
    return !code;
  };
  const auto write = [&](std::uint64_t at, char fill) { return write_at(*file, at, bytes_of(sectors(fill, 2))); };
  auto opened = in.open("tmp", Open::create);
  if (!step(opened.has_error() ? opened.error() : error_code())) return done;
  file = std::move(opened).value();
  (void)(step(file->reserve(8 * sector)) && step(write(0, '1')) && step(file->sync()) &&
         step(in.rename("tmp", "log")) && step(in.sync_names()) && step(write(2 * sector, '2')) && step(file->sync()) &&
         step(file->resize(3 * sector)) && step(file->sync()) && step(in.remove("log")) && step(in.sync_names()));
  return done;
}
constexpr int script_steps = 12;

TEST(SimDisk, the_power_can_go_at_every_step) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    for (int steps = 0; steps <= script_steps; ++steps) {
      SCOPED_TRACE(steps);
      SimDisk disk(seed);
      disk.power_off_after(static_cast<std::uint64_t>(steps));
      {
        const auto in = disk.mount();
        EXPECT_EQ(run_script(*in), steps);
        EXPECT_EQ(disk.power_is_off(), steps < script_steps);
        if (disk.power_is_off()) {
          EXPECT_EQ(in->list().error(), errc_t::io_error);
          EXPECT_EQ(disk.mount()->free_bytes().error(), errc_t::io_error);
        }
      }
      disk.crash(harshest);
      EXPECT_FALSE(disk.power_is_off());
      const auto in = disk.mount();
      const auto left = names(*in);
      if (steps >= 6 && steps < 10) {
        ASSERT_EQ(left, std::set<std::string>{"log"});
        const std::string text = get(*in, "log");
        EXPECT_TRUE(text.starts_with(sectors('1', 2)));
        if (steps == 8) {
          EXPECT_TRUE(text.starts_with(sectors('1', 2) + sectors('2')));
        }
      }
      if (steps == script_steps) {
        EXPECT_TRUE(left.empty());
      }
      EXPECT_LE(left.size(), 1U);
      EXPECT_EQ(run_script(*in), left.contains("tmp") ? 0 : script_steps);
    }
  }
}

TEST(SimDisk, a_write_in_which_the_power_goes_is_done_up_to_some_byte) {
  std::set<std::size_t> borders;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    SimDisk disk(seed);
    const auto in = disk.mount();
    const FilePtr file = make(*in, "a", std::string(20, 'a'));
    disk.power_off_after(0);
    EXPECT_EQ(write_at(*file, 5, bytes_of("bbbbbbbbbb")), errc_t::io_error);
    disk.kill();
    const std::string text = get(*disk.mount(), "a");
    const auto border = static_cast<std::size_t>(std::ranges::count(text, 'b'));
    EXPECT_EQ(text, "aaaaa" + std::string(border, 'b') + std::string(15 - border, 'a'));
    borders.insert(border);
  }
  EXPECT_EQ(borders.size(), 11U);
}

TEST(SimDisk, of_a_sync_in_which_the_power_goes_some_is_durable) {
  std::set<std::string> files;
  std::set<std::string> of_names;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    SimDisk disk(seed);
    const auto in = disk.mount();
    const FilePtr file = make(*in, "a", sectors('a', 2));
    put(*file, 0, sectors('b', 2));
    open(*in, "b", Open::create);
    open(*in, "c", Open::create);
    disk.power_off_after(0);
    EXPECT_EQ(seed % 2 == 0 ? file->sync() : in->sync_names(), errc_t::io_error);
    disk.crash({.keep = 0});
    const auto again = disk.mount();
    files.insert(get(*again, "a"));
    of_names.insert(std::to_string(names(*again).contains("b")) + std::to_string(names(*again).contains("c")));
  }
  EXPECT_EQ(files.size(), 4U);
  EXPECT_EQ(of_names.size(), 4U);
}

TEST(SimDisk, reads_and_refused_calls_do_not_bring_the_power_off_closer) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a", "abc");
  disk.power_off_after(1);
  EXPECT_EQ(in->remove("b"), errc_t::no_such_file_or_directory);
  EXPECT_TRUE(in->open("a", Open::existing).has_value());
  EXPECT_EQ(get(*file), "abc");
  EXPECT_EQ(file->sync(), error_code());
  EXPECT_EQ(get(*file), "abc");
  EXPECT_FALSE(disk.power_is_off());
  EXPECT_EQ(file->sync(), errc_t::io_error);
  EXPECT_TRUE(disk.power_is_off());
}

TEST(SimDisk, a_crash_forgets_a_power_off_that_did_not_come) {
  SimDisk disk(1);
  disk.power_off_after(0);
  disk.crash();
  EXPECT_EQ(run_script(*disk.mount()), script_steps);
}

// --- Damage ---

class Damaged : public ::testing::Test {
 protected:
  /// In the cache and on the disk.
  void expect(std::string_view name, const std::string& text) {
    EXPECT_EQ(get(*in, name), text);
    EXPECT_EQ(text_of(disk.durable(name)), text);
    const Snapshot before = disk.snapshot();
    disk.crash(harshest);
    EXPECT_EQ(disk.snapshot(), before);
    in = disk.mount();
    EXPECT_EQ(get(*in, name), text);
  }

  SimDisk disk{1};
  std::unique_ptr<Storage> in = disk.mount();
};

TEST_F(Damaged, bit) {
  make(*in, "a", "abc");
  disk.flip_bit("a", 8 + 5);
  expect("a", "aBc");
  EXPECT_THROW(disk.flip_bit("a", 8 * sector), std::invalid_argument);
}

TEST_F(Damaged, sector_that_is_zero) {
  make(*in, "a", sectors('a', 2) + "b");
  disk.zero_sector("a", 1);
  expect("a", sectors('a') + sectors('\0') + "b");
  disk.zero_sector("a", 2);
  expect("a", sectors('a') + sectors('\0') + nul);
  EXPECT_THROW(disk.zero_sector("a", 3), std::invalid_argument);
}

TEST_F(Damaged, sector_in_the_wrong_place) {
  make(*in, "a", sectors('a') + sectors('b'));
  make(*in, "b", sectors('c') + "d");
  disk.copy_sector("a", 1, "a", 0);
  expect("a", sectors('b', 2));
  disk.copy_sector("a", 0, "b", 1);
  expect("b", sectors('c') + "b");
  disk.copy_sector("b", 1, "b", 0);
  expect("b", "b" + sectors('\0').substr(1) + "b");
}

TEST_F(Damaged, sector_that_cannot_be_read) {
  const FilePtr file = make(*in, "a", sectors('a', 4));
  disk.break_sector("a", 2);
  Bytes out(4 * sector);
  EXPECT_EQ(file->read(0, out).value(), 2 * sector);
  EXPECT_EQ(file->read(2 * sector + 7, out).error(), errc_t::io_error);
  EXPECT_EQ(read_at(*file, 0, out).error(), errc_t::io_error);
  EXPECT_EQ(read_at(*file, 3 * sector, out).value(), sector);
  put(*file, 2 * sector + 1, "b");
  EXPECT_EQ(read_at(*file, 0, out).error(), errc_t::io_error);
  disk.crash({.keep = 1});
  in = disk.mount();
  EXPECT_EQ(read_at(*open(*in, "a"), 0, out).error(), errc_t::io_error);
  put(*open(*in, "a"), 2 * sector, sectors('c'));
  EXPECT_EQ(get(*in, "a"), sectors('a', 2) + sectors('c') + sectors('a'));
  disk.break_sector("a", 3);
  EXPECT_EQ(open(*in, "a")->resize(sector), error_code());
  EXPECT_EQ(open(*in, "a")->resize(4 * sector), error_code());
  EXPECT_EQ(get(*in, "a"), sectors('a') + sectors('\0', 3));
}

TEST_F(Damaged, size) {
  make(*in, "a", sectors('a', 2));
  disk.truncate("a", sector + 3);
  expect("a", sectors('a') + "aaa");
  disk.truncate("a", sector + 5);
  expect("a", sectors('a') + "aaa" + nul + nul);
}

TEST_F(Damaged, files_that_changed_places) {
  make(*in, "a", "1");
  make(**in->directory("d"), "b", "2");
  ASSERT_EQ(in->sync_names(), error_code());
  disk.swap_files("a", "d/b");
  expect("a", "2");
  EXPECT_EQ(text_of(disk.durable("d/b")), "1");
}

TEST_F(Damaged, file_that_is_gone) {
  make(*in, "a", "1");
  make(*in, "b", "2");
  disk.remove_file("a");
  EXPECT_EQ(all_names(*in), "b=2 ");
  expect("b", "2");
  EXPECT_EQ(all_names(*in), "b=2 ");
  EXPECT_THROW(disk.remove_file("a"), std::invalid_argument);
  EXPECT_THROW(disk.remove_file("d/a"), std::invalid_argument);
  EXPECT_THROW((void)disk.durable("a"), std::invalid_argument);
}

TEST_F(Damaged, file_that_came_from_elsewhere) {
  disk.put_file("a", bytes_of("1"));
  expect("a", "1");
  disk.put_file("a", bytes_of("2"));
  expect("a", "2");
  disk.put_file("d/e/a", bytes_of("3"));
  EXPECT_EQ(get(**(*in->directory("d"))->directory("e"), "a"), "3");
  EXPECT_THROW(disk.put_file("..", {}), std::invalid_argument);
}

// --- What is known about it ---

TEST(SimDisk, a_snapshot_is_what_a_crash_would_leave_at_worst) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a", "old");
  EXPECT_EQ(file->reserve(2 * sector), error_code());
  EXPECT_EQ(file->sync(), error_code());
  make(**in->directory("d"), "b", "2");
  ASSERT_EQ(in->sync_names(), error_code());
  put(*file, 0, "new");
  open(*in, "c", Open::create);
  const Snapshot snapshot = disk.snapshot();
  EXPECT_EQ(snapshot.files.size(), 2U);
  EXPECT_EQ(text_of(snapshot.files.find("a")->second.bytes), "old");
  EXPECT_EQ(snapshot.files.find("a")->second.reserved_bytes, 2 * sector);
  EXPECT_TRUE(snapshot.directories.contains("d"));
  disk.crash({.keep = 0});
  EXPECT_EQ(disk.snapshot(), snapshot);

  const auto again = disk.mount();
  EXPECT_EQ(again->remove("a"), error_code());
  put(*make(*again, "e"), 0, "5");
  disk.restore(snapshot);
  EXPECT_EQ(again->list().error(), errc_t::io_error);
  EXPECT_EQ(disk.snapshot(), snapshot);
  EXPECT_EQ(all_names(*disk.mount()), "a=old ");
  EXPECT_EQ(all_names(**disk.mount()->directory("d")), "b=2 ");
  disk.crash(harshest);
  EXPECT_EQ(disk.snapshot(), snapshot);
}

TEST(SimDisk, nothing_from_before_a_restore_shows_up_again) {
  const auto act = [](SimDisk& disk, Storage& in) {
    make(in, "gone", sectors('g', 40));
    disk.restore({});
    const auto again = disk.mount();
    EXPECT_EQ(make(*again, "a")->resize(40 * sector), error_code());
  };
  for (const std::string& seen : outcomes({.stale_sectors = true}, act, [](Storage& in) { return get(in, "a"); })) {
    EXPECT_EQ(seen.find("gggg"), std::string::npos);
  }
}

/// Something of everything.
std::pair<std::uint64_t, Snapshot> run_all(std::uint64_t seed, std::string_view text = "text") {
  SimDisk disk(seed);
  disk.set_faults({.short_reads = 0.3, .short_writes = 0.3, .plans = {{.call = Call::sync, .nth = 5}}});
  for (std::uint64_t round = 0; round < 4; ++round) {
    const auto in = disk.mount();
    disk.power_off_after(10 + in->random() % 30);
    for (std::uint64_t i = 0; i < 40; ++i) {
      const auto name = std::to_string(in->random() % 5);
      auto file = in->open(name, i % 3 == 0 ? Open::create : Open::existing);
      if (file.has_value()) {
        (void)write_at(**file, in->random() % 5000, bytes_of(text));
        if (i % 4 == 0) (void)(*file)->sync();
      }
      if (i % 5 == 0) (void)in->rename(name, std::to_string(in->random() % 5));
      if (i % 7 == 0) (void)in->sync_names();
    }
    disk.crash(harshest);
  }
  return {disk.trace_hash(), disk.snapshot()};
}

TEST(SimDisk, everything_follows_from_the_seed_and_the_calls) {
  std::set<std::uint64_t> hashes;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto first = run_all(seed);
    EXPECT_EQ(run_all(seed), first);
    hashes.insert(first.first);
    hashes.insert(run_all(seed, "Text").first);
  }
  EXPECT_EQ(hashes.size(), 100U);
}

TEST(SimDisk, the_trace_knows_the_order_of_calls) {
  const auto trace = [](std::string_view one, std::string_view other) {
    SimDisk disk(1);
    const auto in = disk.mount();
    open(*in, one, Open::create);
    open(*in, other, Open::create);
    return disk.trace_hash();
  };
  EXPECT_EQ(trace("a", "b"), trace("a", "b"));
  EXPECT_NE(trace("a", "b"), trace("b", "a"));
}

TEST(SimDisk, counts_calls_and_bytes) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = make(*in, "a", "abc");
  put(*file, 1, "x");
  EXPECT_EQ(get(*file), "axc");
  const Counters counters = disk.counters();
  EXPECT_EQ(counters[Call::create], 1U);
  EXPECT_EQ(counters[Call::write], 2U);
  EXPECT_EQ(counters[Call::sync], 1U);
  EXPECT_EQ(counters[Call::sync_names], 1U);
  EXPECT_EQ(counters[Call::open], 0U);
  EXPECT_EQ(counters.bytes_written, 4U);
  EXPECT_EQ(counters.bytes_read, 3U);
}

TEST(SimDisk, says_which_it_is) {
  SimDisk disk(17);
  EXPECT_EQ((*disk.mount()->directory("d"))->describe(), "simulated disk of seed 17/d");
}

TEST(SimDisk, what_was_opened_may_outlive_it) {
  auto disk = std::make_unique<SimDisk>(1);
  auto in = disk->mount();
  const FilePtr file = make(*in, "a", "abc");
  disk.reset();
  in.reset();
  EXPECT_EQ(get(*file), "abc");
}

TEST(SimDisk, threads_may_share_it) {
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr file = make(*in, "shared");
  std::vector<std::jthread> threads;
  for (std::uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const FilePtr own = open(*in, std::to_string(i), Open::create);
      for (std::uint64_t j = 0; j < 100; ++j) {
        put(*file, (4 * j + i) * 8, "12345678");
        put(*own, j, "x");
        EXPECT_EQ(file->sync(), error_code());
      }
    });
  }
  threads.clear();
  EXPECT_EQ(file->size().value(), 4 * 100 * 8U);
  EXPECT_EQ(names(*in).size(), 5U);
  EXPECT_EQ(disk.counters().bytes_written, 4 * 100 * 9U);
}

// --- read_at and write_at ---

TEST(ReadAtWriteAt, cope_with_short_results) {
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    SimDisk disk(seed);
    disk.set_faults({.short_reads = 0.9, .short_writes = 0.9});
    const auto in = disk.mount();
    const FilePtr file = open(*in, "a", Open::create);
    std::string expected;
    std::vector<Bytes> parts;
    for (std::size_t i = 0; i < 2 * File::max_parts + 3; ++i) {
      const std::string text(i % 7, static_cast<char>('a' + i % 26));
      expected += text;
      parts.push_back(bytes_of(text));
    }
    const std::vector<std::span<const std::byte>> spans(parts.begin(), parts.end());
    EXPECT_EQ(write_at(*file, 3, spans), error_code());
    EXPECT_EQ(get(*file), nul + nul + nul + expected);
    Bytes more(expected.size() + 10);
    EXPECT_EQ(read_at(*file, 3, more).value(), expected.size());
  }
}

/// Takes at most so many bytes at a time, and remembers what it was given.
class Narrow final : public File {
 public:
  explicit Narrow(std::size_t width) : width_(width) {}

  result<std::size_t> read(std::uint64_t, std::span<std::byte>) noexcept override {
    return error_code(errc_t::io_error, boost::system::system_category());
  }
  result<std::size_t> write(std::uint64_t position,
                            std::span<const std::span<const std::byte>> parts) noexcept override {
    EXPECT_EQ(position, text.size());
    EXPECT_LE(parts.size(), File::max_parts);
    calls.push_back(parts.size());
    std::size_t count = 0;
    for (const auto& part : parts) {
      EXPECT_FALSE(part.empty());
      const auto some = part.first(std::min(part.size(), width_ - count));
      text += text_of({some.begin(), some.end()});
      count += some.size();
    }
    return count;
  }
  error_code sync() noexcept override { return {}; }
  result<std::uint64_t> size() noexcept override { return std::uint64_t{0}; }
  error_code resize(std::uint64_t) noexcept override { return {}; }
  error_code reserve(std::uint64_t) noexcept override { return {}; }

  std::string text;
  std::vector<std::size_t> calls;

 private:
  const std::size_t width_;
};

TEST(ReadAtWriteAt, many_parts_go_in_groups) {
  Narrow file(1000);
  const Bytes byte = bytes_of("x");
  const std::vector<std::span<const std::byte>> parts(2 * File::max_parts + 1, byte);
  EXPECT_EQ(write_at(file, 0, parts), error_code());
  EXPECT_EQ(file.calls, (std::vector<std::size_t>{File::max_parts, File::max_parts, 1}));
}

TEST(ReadAtWriteAt, a_short_write_goes_on_in_the_middle_of_a_part) {
  Narrow file(4);
  const std::array<Bytes, 4> parts{bytes_of("abc"), bytes_of(""), bytes_of("defghi"), bytes_of("j")};
  const std::array<std::span<const std::byte>, 4> spans{parts[0], parts[1], parts[2], parts[3]};
  EXPECT_EQ(write_at(file, 0, spans), error_code());
  EXPECT_EQ(file.text, "abcdefghij");
  EXPECT_EQ(file.calls, (std::vector<std::size_t>{3, 2, 2}));
}

TEST(ReadAtWriteAt, nothing_to_write_is_no_call) {
  Narrow file(4);
  EXPECT_EQ(write_at(file, 0, std::span<const std::byte>()), error_code());
  EXPECT_EQ(write_at(file, 0, std::span<const std::span<const std::byte>>()), error_code());
  EXPECT_TRUE(file.calls.empty());
}

TEST(ReadAtWriteAt, a_write_that_does_nothing_is_an_error) {
  Narrow file(0);
  EXPECT_EQ(write_at(file, 0, bytes_of("x")), errc_t::io_error);
  EXPECT_EQ(file.calls.size(), 1U);
}

TEST(ReadAtWriteAt, errors_come_through) {
  Narrow file(1);
  Bytes out(3);
  EXPECT_EQ(read_at(file, 0, out).error(), errc_t::io_error);
  SimDisk disk(1);
  const auto in = disk.mount();
  const FilePtr other = open(*in, "a", Open::create);
  disk.set_faults({.short_writes = 1, .plans = {{.call = Call::write, .nth = 2, .error = errc_t::no_space_on_device}}});
  EXPECT_EQ(write_at(*other, 0, bytes_of(sectors('a', 100))), errc_t::no_space_on_device);
  EXPECT_GT(other->size().value(), 0U);
}

}  // namespace
}  // namespace bus::simulation

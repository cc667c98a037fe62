// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Observers: when they are called, what they may do, and when they are not called any more.
#include "core/bus_fixture.hpp"

#include <bus/bus.hpp>
#include <bus/limits.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using bus_test::drain_now;
using bus_test::publish;
using bus_test::range;

// --- Calls ---

TEST(Observer, is_called_for_each_event_in_the_publishers_thread_after_publication) {
  bus::Bus hub{{.capacity = 2}};
  auto rx = hub.subscribe();
  std::vector<std::uint64_t> seen;
  const auto me = std::this_thread::get_id();
  const auto watching = hub.observe("watcher", [&](const bus::Event& event) {
    EXPECT_EQ(std::this_thread::get_id(), me);
    EXPECT_EQ(hub.stats().published, event.sequence());
    EXPECT_EQ(rx.try_recv()->sequence(), event.sequence());  // a receiver can have it by now
    seen.push_back(event.sequence());
  });
  publish(hub, 5);
  EXPECT_EQ(seen, range(1, 5));
}

TEST(Observer, sees_body_and_metadata) {
  bus::Bus hub;
  auto tx = hub.sender("planner");
  std::string seen;
  const auto watching = hub.observe("watcher", [&](const bus::Event& event) {
    seen = std::string(event.source()) + ": " + event.get_if<bus::ServiceCrashed>()->reason;
  });
  EXPECT_TRUE(tx.send(bus::ServiceCrashed{"llm", "why"}));
  EXPECT_EQ(seen, "planner: why");
}

TEST(Observer, is_not_called_for_a_publish_that_was_refused) {
  bus::Bus hub;
  int calls = 0;
  const auto watching = hub.observe("watcher", [&](const bus::Event&) { ++calls; });
  EXPECT_FALSE(hub.send(bus::Message{}));
  hub.close();
  EXPECT_FALSE(hub.send(bus::Shutdown{}));
  EXPECT_EQ(calls, 0);
}

TEST(Observer, is_called_from_the_next_event_on_and_not_after_its_handle_is_gone) {
  bus::Bus hub;
  std::vector<std::uint64_t> seen;
  publish(hub, 2);
  {
    const auto watching = hub.observe("watcher", [&](const bus::Event& event) { seen.push_back(event.sequence()); });
    publish(hub, 2);
  }
  publish(hub, 2);
  EXPECT_EQ(seen, range(3, 4));
}

TEST(Observer, any_number_of_them_are_each_called_once) {
  bus::Bus hub;
  std::array<int, 50> calls{};
  std::vector<bus::Observer> watching;
  for (int& count : calls) watching.push_back(hub.observe({}, [&count](const bus::Event&) { ++count; }));
  publish(hub, 1);
  EXPECT_EQ(std::ranges::count(calls, 1), 50);
  watching.erase(watching.begin() + 10, watching.begin() + 30);
  publish(hub, 1);
  EXPECT_EQ(std::ranges::count(calls, 1), 20);
  EXPECT_EQ(std::ranges::count(calls, 2), 30);
}

TEST(Observer, a_handle_can_be_moved_and_reset_twice) {
  bus::Bus hub;
  int first = 0;
  int second = 0;
  auto one = hub.observe("one", [&](const bus::Event&) { ++first; });
  auto two = hub.observe("two", [&](const bus::Event&) { ++second; });
  bus::Observer moved = std::move(one);
  publish(hub, 1);
  moved = std::move(two);  // detaches the first
  publish(hub, 1);
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 2);
  moved.reset();
  moved.reset();
  bus::Observer none;
  none.reset();
  publish(hub, 1);
  EXPECT_EQ(second, 2);
}

TEST(Observer, a_name_that_is_too_long_or_holds_a_space_is_refused) {
  bus::Bus hub;
  for (const std::string& name : {std::string(65, 'n'), std::string("a b")}) {
    EXPECT_THROW((void)hub.observe(name, [](const bus::Event&) {}), std::invalid_argument);
  }
}

TEST(Observer, must_be_a_function) {
  bus::Bus hub;
  EXPECT_THROW((void)hub.observe("hollow", {}), std::invalid_argument);
  publish(hub, 1);
  EXPECT_EQ(hub.stats().observer_exceptions, 0U);
}

TEST(Observer, may_be_destroyed_after_the_bus) {
  const auto alive = std::make_shared<int>();
  bus::Observer watching;
  {
    bus::Bus hub;
    watching = hub.observe("watcher", [alive](const bus::Event&) {});
    publish(hub, 3);
  }
  EXPECT_EQ(alive.use_count(), 2);
  watching.reset();
  EXPECT_EQ(alive.use_count(), 1);
}

// --- Exceptions ---

TEST(ObserverThrows, is_caught_counted_and_told_and_the_publish_succeeds) {
  std::vector<std::pair<std::string, std::uint64_t>> told;
  bus::Bus hub{{.on_warning = [&](const bus::Warning& w) {
    EXPECT_EQ(w.kind, bus::Warning::Kind::observer_threw);
    told.emplace_back(w.subject, w.count);
  }}};
  auto rx = hub.subscribe();
  int calls = 0;
  const auto first = hub.observe("thrower", [](const bus::Event&) { throw std::runtime_error("no"); });
  const auto second = hub.observe("calm", [&](const bus::Event&) { ++calls; });
  const auto third = hub.observe("odd", [](const bus::Event& event) {
    if (event.sequence() == 2) throw 42;
  });
  publish(hub, 2);
  EXPECT_EQ(drain_now(rx), range(1, 2));
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(hub.stats().observer_exceptions, 3U);
  std::ranges::sort(told);
  EXPECT_EQ(told, (std::vector<std::pair<std::string, std::uint64_t>>{{"odd", 1}, {"thrower", 1}, {"thrower", 2}}));
}

TEST(ObserverThrows, an_unnamed_one_is_told_as_untagged) {
  std::string subject;
  bus::Bus hub{{.on_warning = [&](const bus::Warning& w) { subject = w.subject; }}};
  const auto watching = hub.observe({}, [](const bus::Event&) { throw 1; });
  publish(hub, 1);
  EXPECT_EQ(subject, "untagged");
}

TEST(ObserverThrows, after_it_detached_itself) {
  bus::Bus hub;
  bus::Observer watching = hub.observe("watcher", [&](const bus::Event&) {
    watching.reset();
    throw 1;
  });
  publish(hub, 3);
  EXPECT_EQ(hub.stats().observer_exceptions, 1U);
}

// --- What it may do ---

TEST(ObserverActs, it_may_publish_and_sees_its_own_event_within) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  auto tx = hub.sender();
  std::vector<std::uint64_t> begun;
  std::vector<std::uint64_t> ended;
  const auto watching = hub.observe("echo", [&](const bus::Event& event) {
    begun.push_back(event.sequence());
    if (event.sequence() < 4) publish(tx, 1);  // with the sender that is in the call
    ended.push_back(event.sequence());
  });
  publish(tx, 1);
  EXPECT_EQ(begun, range(1, 4));
  EXPECT_EQ(ended, (std::vector<std::uint64_t>{4, 3, 2, 1}));
  EXPECT_EQ(drain_now(rx), range(1, 4));
}

TEST(ObserverActs, publishes_nest_16_deep_and_the_next_is_refused) {
  bus::Bus hub;
  unsigned depth = 0;
  unsigned deepest = 0;
  std::vector<bus::error_code> errors;
  const auto watching = hub.observe("echo", [&](const bus::Event&) {
    deepest = std::max(deepest, ++depth);
    if (const auto sent = hub.send(bus::Shutdown{}); !sent) errors.push_back(sent.error());
    --depth;
  });
  for (int round = 1; round <= 2; ++round) {
    publish(hub, 1);
    EXPECT_EQ(deepest, 1 + bus::limits::max_observer_depth);  // of the outer publish, and of each nested one
    EXPECT_EQ(hub.stats().published, static_cast<std::uint64_t>(round) * (1 + bus::limits::max_observer_depth));
    EXPECT_EQ(errors, std::vector(static_cast<std::size_t>(round), make_error_code(bus::errc::observer_too_deep)));
  }
}

TEST(ObserverActs, depth_is_counted_for_each_bus_by_itself) {
  bus::Bus one;
  bus::Bus two;
  const auto forward = one.observe("forward", [&](const bus::Event& event) {
    if (event.sequence() <= 10) publish(two, 1);
  });
  const auto back = two.observe("back", [&](const bus::Event&) { EXPECT_TRUE(one.send(bus::Shutdown{})); });
  publish(one, 1);
  EXPECT_EQ(one.stats().published, 11U);
  EXPECT_EQ(two.stats().published, 10U);
}

TEST(ObserverActs, it_may_subscribe_and_the_receiver_begins_with_the_next_event) {
  bus::Bus hub;
  std::vector<bus::Receiver> receivers;
  const auto watching = hub.observe("watcher", [&](const bus::Event&) { receivers.push_back(hub.subscribe()); });
  publish(hub, 3);
  ASSERT_EQ(receivers.size(), 3U);
  EXPECT_EQ(drain_now(receivers[0]), range(2, 3));
  EXPECT_EQ(drain_now(receivers[2]), range(4, 3));
}

TEST(ObserverActs, it_may_drop_a_receiver) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  const auto watching = hub.observe("watcher", [&](const bus::Event&) { rx = {}; });
  publish(hub, 2);
  EXPECT_TRUE(hub.stats().receivers.empty());
}

TEST(ObserverActs, it_may_close_the_bus) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  const auto watching = hub.observe("watcher", [&](const bus::Event&) { hub.close(); });
  EXPECT_TRUE(hub.send(bus::Shutdown{}));  // this one was published
  EXPECT_EQ(hub.send(bus::Shutdown{}).error(), bus::errc::closed);
  EXPECT_EQ(drain_now(rx), range(1, 1));
  EXPECT_TRUE(rx.try_recv().closed());
}

TEST(ObserverActs, it_may_attach_another_which_sees_the_next_event) {
  bus::Bus hub;
  std::vector<bus::Observer> more;
  std::vector<std::uint64_t> seen;
  const auto watching = hub.observe("watcher", [&](const bus::Event& event) {
    if (event.sequence() == 1) {
      more.push_back(hub.observe("later", [&](const bus::Event& later) { seen.push_back(later.sequence()); }));
    }
  });
  publish(hub, 3);
  EXPECT_EQ(seen, range(2, 3));
}

// --- Detaching ---

TEST(ObserverDetaches, inside_its_own_callback_and_is_not_called_again) {
  bus::Bus hub;
  int calls = 0;
  const auto alive = std::make_shared<int>();
  bus::Observer watching = hub.observe("watcher", [&, alive](const bus::Event&) {
    ++calls;
    watching.reset();
    EXPECT_EQ(alive.use_count(), 2) << "what it captured lives until the call has ended";
  });
  publish(hub, 3);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(ObserverDetaches, inside_a_nested_call_of_its_own) {
  bus::Bus hub;
  int calls = 0;
  const auto alive = std::make_shared<int>();
  bus::Observer watching = hub.observe("watcher", [&, alive](const bus::Event&) {
    if (++calls == 3) {
      watching.reset();
    } else {
      EXPECT_TRUE(hub.send(bus::Shutdown{}));
    }
    EXPECT_EQ(alive.use_count(), 2);
  });
  publish(hub, 2);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(ObserverDetaches, another_that_then_does_not_see_the_event) {
  bus::Bus hub;
  std::array<bus::Observer, 2> watching;
  int calls = 0;
  for (std::size_t i = 0; i < 2; ++i) {  // whichever is called first detaches the other
    watching[i] = hub.observe("watcher", [&, i](const bus::Event&) {
      ++calls;
      watching[1 - i].reset();
    });
  }
  publish(hub, 2);
  EXPECT_EQ(calls, 2);
}

TEST(ObserverDetaches, in_another_thread_only_when_the_running_call_has_ended) {
  bus::Bus hub;
  std::latch inside(1);
  std::latch go_on(1);
  std::atomic<bool> ended{false};
  std::atomic<bool> detaching{false};
  bus::Observer watching = hub.observe("watcher", [&](const bus::Event&) {
    inside.count_down();
    go_on.wait();
    ended = true;
  });
  std::thread publisher([&] { publish(hub, 1); });
  inside.wait();
  std::thread detacher([&] {
    detaching = true;
    watching.reset();
    EXPECT_TRUE(ended) << "reset returned while the function was running";
  });
  while (!detaching) std::this_thread::yield();
  for (int i = 0; i < 100; ++i) std::this_thread::yield();  // a chance to return too early
  go_on.count_down();
  publisher.join();
  detacher.join();
  publish(hub, 1);
}

TEST(ObserverDetaches, inside_one_call_while_another_runs_and_is_destroyed_when_the_last_has_ended) {
  bus::Bus hub;
  std::latch inside(1);
  std::latch detached(1);
  const auto alive = std::make_shared<int>();
  bus::Observer watching = hub.observe("watcher", [&, alive](const bus::Event& event) {
    if (event.get_if<bus::Shutdown>() != nullptr) {
      watching.reset();  // returns at once, though the other call is not over
      detached.count_down();
    } else {
      inside.count_down();
      detached.wait();
      EXPECT_EQ(alive.use_count(), 2);
    }
  });
  std::thread long_call([&] { publish(hub, 1); });
  inside.wait();
  EXPECT_TRUE(hub.send(bus::Shutdown{}));
  long_call.join();
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(ObserverDetaches, and_what_it_captured_may_be_destroyed_at_once) {
  bus::Bus hub{{.capacity = 4}};
  std::atomic<bool> go_on{true};
  std::vector<std::thread> publishers;
  for (int i = 0; i < 2; ++i) {
    publishers.emplace_back([&] {
      auto tx = hub.sender();
      while (go_on) EXPECT_TRUE(tx.send(bus::Shutdown{}));
    });
  }
  for (int round = 0; round < 2'000; ++round) {
    auto captured = std::make_unique<std::atomic<int>>(0);
    auto watching = hub.observe("watcher", [object = captured.get()](const bus::Event&) { ++*object; });
    if (round % 50 == 0) {
      while (*captured == 0) std::this_thread::yield();
    }
    watching.reset();
    *captured = -1;
    for (int i = 0; i < 20; ++i) ASSERT_EQ(*captured, -1) << "called after reset() returned";
    captured.reset();
  }
  go_on = false;
  for (auto& publisher : publishers) publisher.join();
}

TEST(ObserverDetaches, from_inside_and_from_outside_against_many_publishers) {
  bus::Bus hub{{.capacity = 4}};
  std::atomic<bool> go_on{true};
  std::vector<std::thread> publishers;
  for (int i = 0; i < 2; ++i) {
    publishers.emplace_back([&] {
      while (go_on) publish(hub, 1);
    });
  }
  const auto alive = std::make_shared<int>();
  for (int round = 0; round < 300; ++round) {
    struct Once {
      std::latch attached{1};
      std::latch detached{1};
      std::atomic_flag taken;
      bus::Observer handle;
    };
    const auto once = std::make_shared<Once>();
    once->handle = hub.observe("once", [once, alive](const bus::Event&) {
      once->attached.wait();
      if (once->taken.test_and_set()) return;
      once->handle.reset();
      once->detached.count_down();
    });
    once->attached.count_down();
    once->detached.wait();
  }
  go_on = false;
  for (auto& publisher : publishers) publisher.join();
  EXPECT_EQ(alive.use_count(), 1) << "each function was destroyed";
}

// --- The event in its hands ---

TEST(ObserverEvent, stays_valid_during_the_call_though_the_whole_ring_is_overwritten) {
  bus::Bus hub{{.capacity = 2}};
  const std::string reason(200, 'r');
  bool first = true;
  const auto watching = hub.observe("watcher", [&](const bus::Event& event) {
    if (!std::exchange(first, false)) return;
    std::thread([&] { publish(hub, 2'000); }).join();
    publish(hub, 2'000);
    EXPECT_EQ(event.sequence(), 1U);
    EXPECT_EQ(event.get_if<bus::ServiceCrashed>()->reason, reason);
  });
  EXPECT_TRUE(hub.send(bus::ServiceCrashed{"llm", reason}));
  EXPECT_EQ(hub.stats().published, 4'001U);
}

TEST(ObserverEvent, does_not_stay_when_the_call_has_ended) {
  bus::Bus hub{{.capacity = 2}};
  const auto watching = hub.observe("watcher", [](const bus::Event&) {});
  publish(hub, 5'000);
  EXPECT_EQ(hub.stats().node_growths, 0U);
}

}  // namespace

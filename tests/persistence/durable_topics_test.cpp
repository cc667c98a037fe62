// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Durable topics, sentence by sentence, on a simulated disk.
#include <bus/persistence/durable_topics.hpp>
#include <bus/persistence/group.hpp>
#include <bus/routing/asio.hpp>

#include "gated_storage.hpp"

#include "simulation/sim_disk.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace bus_test {

struct Sum {
  int value = 0;
};

}  // namespace bus_test

template <>
struct bus::Schema<bus_test::Sum> : bus::PlainSchema<bus_test::Sum> {
  static constexpr std::string_view name = "busbar.test.Sum";
  static constexpr std::uint32_t version = 3;
};

namespace bus {
namespace {

using simulation::Call;
using simulation::GatedStorage;
using simulation::SimDisk;
using namespace std::chrono_literals;
namespace sys = boost::system::errc;

constexpr auto far = std::chrono::steady_clock::time_point::max();
constexpr std::chrono::steady_clock::time_point past{};

LogOptions small_log() {
  LogOptions options;
  options.segment_bytes = std::uint64_t{256} << 10;
  options.uncommitted_bytes = std::size_t{256} << 10;
  options.spare_segments = 0;
  return options;
}

Message message(std::string_view topic, std::string_view text, std::string_view principal = "agent.x") {
  return {Topic::parse(topic).value(), Principal::parse(principal).value(), Payload::copy(text)};
}

/// What a route has, oldest first.
std::vector<std::string> texts(RouteReceiver& route) {
  std::vector<std::string> all;
  while (const auto got = route.try_recv()) all.emplace_back(got->payload.text());
  return all;
}

class StoppedClock final : public Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override { return {}; }
  std::chrono::steady_clock::time_point steady() const noexcept override { return {}; }
};

/// A log on a disk whose syncs can be held up, a router, and what binds them.
class DurableTopicsTest : public testing::Test {
 protected:
  void SetUp() override { open_log(); }
  void TearDown() override {
    gate.set(false);
    topics.reset();
  }

  void open_log() {
    log.reset();
    auto opened = Log::open(std::make_unique<GatedStorage>(disk.mount(), gate), small_log());
    ASSERT_TRUE(opened) << opened.error().message();
    log.emplace(std::move(*opened));
  }
  void bind(DurableTopicsOptions options = {.table = {{"done.>"}}}) {
    topics.emplace(*router, *log, std::move(options));
  }
  RouteReceiver subscribe(RouteOptions options = {.owner = "o", .patterns = {">"}}) {
    return router->subscribe(std::move(options));
  }
  /// Of the records of the log, by offset.
  std::map<std::uint64_t, std::string> logged() {
    std::map<std::uint64_t, std::string> all;
    LogReader reader = log->read().value();
    while (reader.next()->outcome() == ReadOutcome::record) {
      all.emplace(reader.record().offset(), reader.record().text());
    }
    return all;
  }
  void fail_syncs() { disk.fail({.call = Call::sync, .nth = 1, .for_good = true}); }

  SimDisk disk{1};
  GatedStorage::Gate gate;
  std::optional<Log> log;
  Bus hub{{.capacity = 4096}};
  std::optional<Router> router{std::in_place, hub};
  std::optional<DurableTopics> topics;
};

// --- Publishing ---

TEST_F(DurableTopicsTest, gives_the_log_all_that_was_said_and_the_route_the_place_in_it) {
  bind();
  auto route = subscribe();
  const std::vector<Header> headers{{"content-type", "text/plain"}};
  const Attributes attributes{
      .correlation = CorrelationId{1, 2}, .trace = TraceContext{{1}, {2}, 3}, .terminal = true, .key = "k"};
  ASSERT_TRUE(topics->publish(message("done.a", "first")));
  const auto receipt = topics->publish(message("done.a", "second"), attributes,
                                       {.headers = headers, .message_id = "m", .producer = Producer{5, 6, 7}});
  ASSERT_TRUE(receipt) << receipt.error().message();
  EXPECT_TRUE(receipt->durable());
  EXPECT_EQ(receipt->offset(), 1U);
  EXPECT_EQ(receipt->durability(), Durability::synced);
  EXPECT_EQ(receipt->logged<Durability::synced>()->offset(), 1U);
  ASSERT_TRUE(receipt->delivery());
  EXPECT_EQ(receipt->delivery()->taken, 1U);
  EXPECT_EQ(receipt->delivery()->sequence, 2U);

  EXPECT_EQ(route.try_recv().event().place(), (LogPlace{topics->number(), 0}));
  const auto got = route.try_recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->topic.view(), "done.a");
  EXPECT_EQ(got->principal.view(), "agent.x");
  EXPECT_EQ(got->payload.text(), "second");
  EXPECT_EQ(got.event().place(), (LogPlace{topics->number(), 1}));
  EXPECT_EQ(got.event().correlation(), attributes.correlation);
  EXPECT_EQ(got.event().trace(), attributes.trace);
  EXPECT_TRUE(got.event().terminal());

  LogReader reader = log->read({.from = From::offset(1)}).value();
  ASSERT_EQ(reader.next()->outcome(), ReadOutcome::record);
  const RecordView& record = reader.record();
  EXPECT_EQ(record.topic(), "done.a");
  EXPECT_EQ(record.principal(), "agent.x");
  EXPECT_EQ(record.text(), "second");
  EXPECT_EQ(record.key(), "k");
  EXPECT_EQ(record.correlation(), attributes.correlation);
  EXPECT_EQ(record.trace(), attributes.trace);
  EXPECT_TRUE(record.terminal());
  EXPECT_EQ(record.message_id(), "m");
  EXPECT_EQ(record.producer(), (Producer{5, 6, 7}));
  std::vector<Header> read;
  record.for_each_header([&](const Header& header) { read.push_back(header); });
  EXPECT_EQ(read, headers);
}

TEST_F(DurableTopicsTest, what_the_log_had_already_is_not_delivered_again) {
  bind();
  auto route = subscribe();
  EXPECT_FALSE(topics->publish(message("done.a", "first"), {}, {.message_id = "m"})->duplicate());
  const auto again = topics->publish(message("done.a", "again"), {}, {.message_id = "m"});
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_TRUE(again->duplicate());
  EXPECT_EQ(again->offset(), 0U);
  EXPECT_TRUE(again->logged<Durability::synced>()->duplicate());
  EXPECT_EQ(again->delivery()->taken, 0U);
  ASSERT_TRUE(topics->publish(message("done.a", "second"), {}, {.message_id = "n"}));
  EXPECT_EQ(texts(route), (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(topics->stats().undelivered, 0U);
}

TEST_F(DurableTopicsTest, delivers_an_object_as_itself_and_logs_it_encoded) {
  bind();
  auto route = subscribe();
  ASSERT_TRUE(topics->publish({.topic = "done.sum", .payload = Payload::object(bus_test::Sum{42})}));
  const auto got = route.try_recv();
  ASSERT_NE(got->payload.get_if<bus_test::Sum>(), nullptr);
  EXPECT_EQ(got->payload.get_if<bus_test::Sum>()->value, 42);
  LogReader reader = log->read().value();
  ASSERT_EQ(reader.next()->outcome(), ReadOutcome::record);
  EXPECT_EQ(reader.record().schema(), "busbar.test.Sum");
  EXPECT_EQ(reader.record().schema_version(), 3U);
  EXPECT_EQ(Schema<bus_test::Sum>::decode(reader.record().payload())->value, 42);
}

TEST_F(DurableTopicsTest, passes_on_what_is_not_durable) {
  bind();
  auto route = subscribe();
  gate.set(true);  // no commit would return
  const auto receipt = topics->publish(message("token", "t"));
  ASSERT_TRUE(receipt);
  EXPECT_FALSE(receipt->durable());
  EXPECT_FALSE(receipt->durability());
  EXPECT_FALSE(receipt->logged<Durability::buffered>());
  EXPECT_EQ(receipt->delivery()->taken, 1U);
  const auto pending = topics->submit(message("token", "u"));
  ASSERT_TRUE(pending);
  EXPECT_TRUE(pending->ready());
  EXPECT_FALSE(pending->wait()->durable());
  EXPECT_FALSE(route.try_recv().event().place());
  EXPECT_EQ(texts(route), std::vector<std::string>{"u"});
  EXPECT_EQ(topics->publish({}).error(), errc::topic_invalid);
  EXPECT_EQ(topics->submit({}).error(), errc::topic_invalid);
  EXPECT_EQ(log->next_offset(), 0U);
}

TEST_F(DurableTopicsTest, the_first_row_that_matches_counts) {
  bind({.table = {{"done.quick", Durability::written}, {"done.>"}, {"done.late.*", Durability::buffered}}});
  const auto syncs = log->stats().syncs;
  const auto quick = topics->publish(message("done.quick", "q"));
  EXPECT_EQ(quick->durability(), Durability::written);
  EXPECT_FALSE(quick->logged<Durability::synced>()) << "it promises less";
  EXPECT_EQ(quick->logged<Durability::written>()->offset(), 0U);
  EXPECT_EQ(log->stats().syncs, syncs);
  EXPECT_EQ(topics->publish(message("done.late.a", "l"))->durability(), Durability::synced);
  EXPECT_GT(log->stats().syncs, syncs);
  EXPECT_EQ(topics->row("done.quick")->pattern.view(), "done.quick");
  EXPECT_EQ(topics->row("done.late.a")->pattern.view(), "done.>");
  EXPECT_EQ(topics->row("token"), nullptr);
}

TEST_F(DurableTopicsTest, delivers_what_is_buffered_though_nobody_asks_for_a_sync) {
  bind({.table = {{"done.>", Durability::buffered}}});
  const auto receipt = topics->publish(message("done.a", "b"));
  ASSERT_TRUE(receipt);
  EXPECT_EQ(receipt->durability(), Durability::buffered);
  EXPECT_EQ(receipt->delivery()->sequence, 1U);
}

// --- Delivery after the commit ---

TEST_F(DurableTopicsTest, nobody_sees_a_message_before_it_is_durable) {
  bind();
  auto route = subscribe();
  auto receiver = hub.subscribe("r");
  gate.set(true);
  const auto pending = topics->submit(message("done.a", "x"));
  ASSERT_TRUE(pending);
  gate.await_one();  // it is written, and its sync has begun
  EXPECT_FALSE(pending->ready());
  EXPECT_EQ(pending->wait_until(past).error(), errc::timed_out);
  EXPECT_EQ(topics->stats().undelivered, 1U);
  EXPECT_FALSE(route.try_recv());
  EXPECT_FALSE(receiver.try_recv());
  gate.set(false);
  const auto receipt = pending->wait();
  ASSERT_TRUE(receipt);
  EXPECT_TRUE(pending->ready());
  EXPECT_EQ(receipt->delivery()->taken, 1U);
  EXPECT_EQ(texts(route), std::vector<std::string>{"x"});
  EXPECT_TRUE(receiver.try_recv());
  EXPECT_EQ(topics->stats().committed, 1U);
  EXPECT_EQ(topics->stats().undelivered, 0U);
  EXPECT_EQ(topics->stats().undelivered_bytes, 0U);
}

TEST_F(DurableTopicsTest, routes_and_gates_are_looked_at_when_it_is_delivered) {
  bind();
  auto shut = std::make_shared<Gate>();
  auto gated = subscribe({.owner = "gated", .patterns = {">"}, .gate = shut});
  gate.set(true);
  const auto first = topics->submit(message("done.a", "x"));
  gate.await_one();
  auto late = subscribe();
  ASSERT_TRUE(shut->publish());
  gate.set(false);
  EXPECT_EQ(first->wait()->delivery()->taken, 2U);
  EXPECT_EQ(texts(gated), std::vector<std::string>{"x"});
  EXPECT_EQ(texts(late), std::vector<std::string>{"x"});
}

TEST_F(DurableTopicsTest, a_later_message_that_is_not_durable_may_overtake) {
  bind();
  auto route = subscribe();
  gate.set(true);
  const auto pending = topics->submit(message("done.a", "durable"));
  ASSERT_TRUE(topics->publish(message("token", "not")));
  gate.set(false);
  ASSERT_TRUE(pending->wait());
  EXPECT_EQ(texts(route), (std::vector<std::string>{"not", "durable"}));
}

TEST_F(DurableTopicsTest, delivers_all_of_several_publishers_once_and_in_the_order_of_offsets) {
  constexpr int publishers = 4;
  constexpr int each = 250;
  bind();
  auto route = subscribe({.owner = "o", .patterns = {">"}, .budget_bytes = std::size_t{8} << 20});
  auto receiver = hub.subscribe("r");
  std::vector<std::string> by_offset(publishers * each);
  {
    std::vector<std::jthread> threads;
    for (int id = 0; id < publishers; ++id) {
      threads.emplace_back([&, id] {
        std::vector<std::pair<std::string, PendingPublishReceipt>> pending;
        for (int i = 0; i < each; ++i) {
          const std::string text = std::to_string(id) + ":" + std::to_string(i);
          if (i % 10 == 0) {
            by_offset[topics->publish(message("done.a", text)).value().offset()] = text;
          } else {
            pending.emplace_back(text, topics->submit(message("done.a", text)).value());
          }
        }
        for (const auto& [text, one] : pending) by_offset[one.wait().value().offset()] = text;
      });
    }
  }
  std::uint64_t next = 0;
  std::map<char, int> next_of;
  while (const auto got = route.try_recv()) {
    ASSERT_LT(next, by_offset.size());
    ASSERT_EQ(got.event().place()->offset, next);
    ASSERT_EQ(got.event().sequence(), next + 1);
    ASSERT_EQ(got->payload.text(), by_offset[next]);
    ASSERT_EQ(got->payload.text().substr(2), std::to_string(next_of[got->payload.text()[0]]++));
    ++next;
  }
  EXPECT_EQ(next, by_offset.size());
  for (std::uint64_t i = 0; i < by_offset.size(); ++i) ASSERT_EQ(receiver.try_recv()->place()->offset, i);
  EXPECT_EQ(topics->stats().committed, by_offset.size());
}

// --- What holds delivery up, and what does not ---

TEST_F(DurableTopicsTest, a_route_that_nobody_reads_holds_up_nothing) {
  bind();
  auto slow = subscribe({.owner = "slow", .patterns = {">"}, .budget_bytes = 1000, .overflow = Overflow::reject_new});
  auto waits = subscribe({.owner = "waits", .patterns = {">"}, .budget_bytes = 1000, .overflow = Overflow::wait});
  auto quick = subscribe({.owner = "quick", .patterns = {">"}});
  constexpr int all = 10;
  std::uint32_t refused = 0;
  for (int i = 0; i < all; ++i) {
    const auto receipt = topics->publish_until(message("done.a", "x"), far);
    ASSERT_TRUE(receipt);
    for (const auto& refusal : receipt->delivery()->refusals()) EXPECT_EQ(refusal.reason, Loss::over_budget);
    refused += receipt->delivery()->refused;
  }
  EXPECT_EQ(quick.stats().pending, std::uint64_t{all});
  EXPECT_EQ(slow.stats().pending, 2U);
  EXPECT_EQ(waits.stats().pending, 2U) << "it refuses what it would have others wait for";
  EXPECT_EQ(refused, 2U * (all - 2));
}

/// Stops the thread that delivers until it is told to go on.
struct HeldDelivery {
  explicit HeldDelivery(Bus& hub)
      : observer(hub.observe("holds", [this](const Event&) {
          if (held_once.exchange(true)) return;
          reached.count_down();
          go_on.wait();
        })) {}
  std::atomic<bool> held_once{false};
  std::latch reached{1};
  std::latch go_on{1};
  Observer observer;
};

TEST_F(DurableTopicsTest, what_holds_delivery_up_holds_up_no_commit_until_too_much_is_undelivered) {
  const std::size_t charge = 6 + 1 + route_entry_bytes;
  bind({.table = {{"done.>"}}, .undelivered_bytes = 5 * charge});
  auto route = subscribe();
  HeldDelivery held(hub);
  std::vector<PendingPublishReceipt> pending;
  pending.push_back(topics->submit(message("done.a", "0")).value());
  held.reached.wait();
  for (int i = 1; i < 5; ++i) pending.push_back(topics->submit(message("done.a", std::to_string(i))).value());
  while (log->next_offset() != 5) std::this_thread::yield();  // for ever, if commits were held up
  EXPECT_EQ(topics->stats().undelivered_bytes, 5 * charge);
  EXPECT_EQ(topics->submit(message("done.a", "x")).error(), errc::overloaded);
  EXPECT_EQ(topics->publish(message("done.a", "x")).error(), errc::overloaded);
  EXPECT_EQ(topics->submit_until(message("done.a", "x"), past).error(), errc::timed_out);
  EXPECT_EQ(topics->stats().overloads, 3U);
  for (const auto& one : pending) EXPECT_FALSE(one.ready());
  std::jthread patient([&] { EXPECT_EQ(topics->publish_until(message("done.a", "5"), far)->offset(), 5U); });
  held.go_on.count_down();
  patient.join();
  EXPECT_EQ(texts(route), (std::vector<std::string>{"0", "1", "2", "3", "4", "5"}));
  EXPECT_TRUE(pending.back().ready());
}

TEST_F(DurableTopicsTest, takes_a_message_above_the_limit_when_there_is_no_other) {
  bind({.table = {{"done.>"}}, .undelivered_bytes = 1});
  EXPECT_TRUE(topics->publish(message("done.a", std::string(1000, 'x'))));
  EXPECT_TRUE(topics->publish(message("done.a", std::string(1000, 'x'))));
}

TEST_F(DurableTopicsTest, an_observer_in_the_thread_that_delivers_may_submit_and_not_wait) {
  bind({.table = {{"done.>"}}, .undelivered_bytes = 1 << 20});
  std::optional<PendingPublishReceipt> answer;
  std::vector<error_code> refused;
  const Observer observer = hub.observe("answers", [&](const Event& event) {
    if (!event.place() || event.place()->offset != 0) return;
    refused.push_back(topics->publish(message("done.b", "waits")).error());
    refused.push_back(topics->close());
    answer = topics->submit(message("done.b", "answer")).value();
    refused.push_back(answer->wait().error());
    EXPECT_TRUE(topics->publish(message("token", "waits for nothing")));
  });
  ASSERT_TRUE(topics->publish(message("done.a", "question")));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->wait()->offset(), 1U);
  EXPECT_EQ(refused.size(), 3U);
  for (const error_code& error : refused) EXPECT_EQ(error, sys::resource_deadlock_would_occur);
}

// --- What is refused ---

TEST_F(DurableTopicsTest, the_router_refuses_durable_topics_while_it_is_bound) {
  auto tx = router->sender("s");
  const auto expect_all = [&](std::string_view topic, error_code expected) {
    const auto of = [](const auto& outcome) { return outcome ? error_code() : outcome.error(); };
    EXPECT_EQ(of(router->publish(message(topic, "x"))), expected);
    EXPECT_EQ(of(router->publish_until(message(topic, "x"), far)), expected);
    EXPECT_EQ(of(tx.publish(message(topic, "x"))), expected);
    EXPECT_EQ(of(tx.publish_until(message(topic, "x"), far)), expected);
    boost::asio::io_context io;
    error_code got;
    tx.async_publish(message(topic, "x"), {},
                     boost::asio::bind_executor(io, [&](error_code error, const PublishOutcome&) { got = error; }));
    EXPECT_EQ(io.run(), 1U);
    EXPECT_EQ(got, expected);
  };
  expect_all("done.a", {});
  bind();
  auto route = subscribe();
  expect_all("done.a", errc::topic_durable);
  EXPECT_FALSE(route.try_recv());
  expect_all("token", {});
  auto later = subscribe();  // changes what publishers read
  expect_all("done.a", errc::topic_durable);
  EXPECT_FALSE(topics->close());
  expect_all("done.a", {});
}

TEST_F(DurableTopicsTest, what_the_router_would_refuse_is_not_in_the_log) {
  router.reset();
  Bus other{{.max_payload_bytes = 10}};
  const StoppedClock clock;
  const auto limiter = std::make_shared<RateLimiter>(RateLimit{.bytes_per_second = 1, .burst_bytes = 10}, clock);
  router.emplace(other, RouterOptions{.rate_limiter = limiter});
  bind();
  EXPECT_EQ(topics->publish(message("done.a", "eleven byte")).error(), errc::payload_too_large);
  EXPECT_EQ(topics->publish(message("done.a", "x"), {.key = std::string(256, 'k')}).error(), errc::key_too_long);
  ASSERT_TRUE(topics->publish(message("token", "ten bytes.")));
  EXPECT_EQ(topics->publish(message("done.a", "x")).error(), errc::rate_limited);
  router->close();
  EXPECT_EQ(topics->publish(message("done.a", "x")).error(), errc::closed);
  EXPECT_EQ(topics->submit(message("done.a", "x")).error(), errc::closed);
  EXPECT_EQ(log->next_offset(), 0U);
  EXPECT_EQ(topics->stats().undelivered, 0U);
}

TEST_F(DurableTopicsTest, what_is_not_taken_costs_nothing_of_the_rate) {
  router.reset();
  const StoppedClock clock;
  const auto limiter = std::make_shared<RateLimiter>(RateLimit{.bytes_per_second = 1, .burst_bytes = 10}, clock);
  router.emplace(hub, RouterOptions{.rate_limiter = limiter});
  const std::vector<Header> nameless{{"", "value"}};
  bind({.table = {{"done.>"}}, .undelivered_bytes = 1});
  gate.set(true);
  const auto first = topics->submit(message("done.a", "5 byt")).value();
  EXPECT_EQ(topics->submit(message("done.a", "5 byt")).error(), errc::overloaded);
  EXPECT_EQ(topics->submit_until(message("done.a", "5 byt"), past).error(), errc::timed_out);
  EXPECT_EQ(topics->submit(message("done.a", "6 byte")).error(), errc::rate_limited);
  gate.set(false);
  ASSERT_TRUE(first.wait());
  EXPECT_EQ(topics->submit(message("done.a", "5 byt"), {}, {.headers = nameless}).error(), errc::name_invalid);
  EXPECT_TRUE(topics->publish(message("done.a", "5 byt"))) << "once, for all that was not taken";
  EXPECT_EQ(topics->publish(message("done.a", "x")).error(), errc::rate_limited);
  EXPECT_EQ(router->publish(message("token", "x")).error(), errc::rate_limited) << "both are of no sender";
  EXPECT_TRUE(router->sender("s").publish(message("token", "x")));
}

TEST_F(DurableTopicsTest, what_the_log_refuses_is_delivered_to_nobody) {
  bind();
  auto route = subscribe();
  const std::vector<Header> nameless{{"", "value"}};
  EXPECT_EQ(topics->publish(message("done.a", "x"), {}, {.headers = nameless}).error(), errc::name_invalid);
  EXPECT_EQ(topics->publish(message("done.a", std::string(300'000, 'x'))).error(), errc::payload_too_large);
  ASSERT_FALSE(log->close());
  EXPECT_EQ(topics->publish(message("done.a", "x")).error(), errc::closed);
  EXPECT_FALSE(route.try_recv());
  EXPECT_EQ(topics->stats().undelivered, 0U);
  EXPECT_EQ(hub.stats().published, 0U);
}

TEST_F(DurableTopicsTest, delivers_nothing_whose_sync_failed_and_goes_on_when_the_log_is_opened_again) {
  bind();
  auto route = subscribe();
  auto receiver = hub.subscribe("r");
  ASSERT_TRUE(topics->publish(message("done.a", "0")));
  gate.set(true);
  std::vector<PendingPublishReceipt> pending;
  for (int i = 0; i < 10; ++i) pending.push_back(topics->submit(message("done.a", "lost")).value());
  gate.await_one();
  fail_syncs();
  gate.set(false);
  for (const auto& one : pending) EXPECT_EQ(one.wait().error(), errc::log_read_only);
  EXPECT_EQ(topics->publish(message("done.a", "lost")).error(), errc::log_read_only);
  EXPECT_EQ(topics->submit(message("done.a", "lost")).error(), errc::log_read_only);
  EXPECT_EQ(texts(route), std::vector<std::string>{"0"});
  EXPECT_EQ(hub.stats().published, 1U);
  EXPECT_EQ(topics->stats().refused, 10U);
  EXPECT_EQ(topics->stats().undelivered, 0U);
  EXPECT_TRUE(topics->publish(message("token", "t"))) << "what is not durable goes on";

  disk.set_faults({});
  ASSERT_FALSE(log->reopen());
  const auto receipt = topics->publish(message("done.a", "again"));
  ASSERT_TRUE(receipt) << receipt.error().message();
  EXPECT_EQ(texts(route), (std::vector<std::string>{"t", "again"}));
}

TEST_F(DurableTopicsTest, delivers_nothing_that_a_full_disk_refused) {
  bind();
  auto route = subscribe({.owner = "o", .patterns = {">"}, .budget_bytes = std::size_t{4} << 20});
  const std::string payload(10'000, 'x');
  disk.set_faults({.capacity_bytes = std::uint64_t{400} << 10});
  std::uint64_t taken = 0;
  error_code refused;
  while (!refused) {
    const auto receipt = topics->publish(message("done.a", payload));
    if (receipt) {
      ++taken;
    } else {
      refused = receipt.error();
    }
  }
  EXPECT_EQ(refused, sys::no_space_on_device);
  EXPECT_EQ(topics->submit(message("done.a", payload))->wait().error(), sys::no_space_on_device);
  EXPECT_EQ(texts(route).size(), taken);
  EXPECT_EQ(log->next_offset(), taken);
  disk.set_faults({});
  const auto receipt = topics->publish(message("done.a", "small"));
  ASSERT_TRUE(receipt) << receipt.error().message();
  EXPECT_EQ(receipt->offset(), taken);
  EXPECT_EQ(route.try_recv().event().place()->offset, taken);
}

TEST_F(DurableTopicsTest, whatever_was_delivered_is_in_the_log_after_a_loss_of_power) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    SimDisk failing(seed);
    std::map<std::uint64_t, std::string> delivered;
    {
      Log own = Log::open(failing.mount(), small_log()).value();
      Bus bus{{.capacity = 4096}};
      Router on{bus};
      auto route = on.subscribe({.owner = "o", .patterns = {">"}});
      DurableTopics durable(on, own, {.table = {{">"}}});
      failing.fail({.call = seed % 2 == 0 ? Call::sync : Call::write, .nth = 30 + 3 * seed, .for_good = true});
      {
        std::vector<std::jthread> threads;
        for (int id = 0; id < 3; ++id) {
          threads.emplace_back([&durable, id] {
            for (int i = 0;; ++i) {
              const std::string text = std::to_string(id) + ":" + std::to_string(i);
              if (i % 3 == 0) {
                (void)durable.submit(message("done.a", text));
              } else if (!durable.publish(message("done.a", text))) {
                return;
              }
            }
          });
        }
      }
      durable.close();
      while (const auto got = route.try_recv()) {
        delivered.emplace(got.event().place()->offset, got->payload.text());
      }
      EXPECT_EQ(durable.stats().committed, delivered.size());
      failing.crash({.keep = 0});
    }
    failing.set_faults({});
    Log again = Log::open(failing.mount(), small_log()).value();
    LogReader reader = again.read().value();
    std::map<std::uint64_t, std::string> kept;
    while (reader.next()->outcome() == ReadOutcome::record) {
      kept.emplace(reader.record().offset(), reader.record().text());
    }
    EXPECT_FALSE(delivered.empty());
    for (const auto& [offset, text] : delivered) EXPECT_EQ(kept[offset], text);
  }
}

// --- At once ---

TEST_F(DurableTopicsTest, delivers_at_once_where_the_row_says_so) {
  bind({.table = {{"done.>", Durability::synced, Delivery::at_once}}});
  auto route = subscribe();
  gate.set(true);
  const auto pending = topics->submit(message("done.a", "x"));
  ASSERT_TRUE(pending);
  EXPECT_FALSE(pending->ready());
  const auto got = route.try_recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload.text(), "x");
  EXPECT_FALSE(got.event().place()) << "it has no offset yet";
  gate.set(false);
  const auto receipt = pending->wait();
  ASSERT_TRUE(receipt);
  EXPECT_EQ(receipt->offset(), 0U);
  EXPECT_EQ(receipt->delivery()->taken, 1U);
  EXPECT_EQ(topics->publish(message("done.a", "y"))->offset(), 1U);
  EXPECT_EQ(texts(route), std::vector<std::string>{"y"}) << "once";
}

TEST_F(DurableTopicsTest, at_once_is_seen_though_its_commit_fails_and_not_if_the_log_takes_nothing) {
  bind({.table = {{"done.>", Durability::synced, Delivery::at_once}}});
  auto route = subscribe();
  fail_syncs();
  EXPECT_EQ(topics->publish(message("done.a", "seen")).error(), errc::log_read_only);
  EXPECT_EQ(topics->publish(message("done.a", "not")).error(), errc::log_read_only);
  EXPECT_EQ(texts(route), std::vector<std::string>{"seen"});
}

TEST_F(DurableTopicsTest, delivers_at_once_all_of_several_publishers_once) {
  constexpr int publishers = 4;
  constexpr int each = 100;
  bind({.table = {{"done.>", Durability::synced, Delivery::at_once}}});
  auto route = subscribe();
  std::vector<std::string> by_offset(publishers * each);
  {
    std::vector<std::jthread> threads;
    for (int id = 0; id < publishers; ++id) {
      threads.emplace_back([&, id] {
        for (int i = 0; i < each; ++i) {
          const std::string text = std::to_string(id) + ":" + std::to_string(i);
          const auto pending = topics->submit(message("done.a", text)).value();
          by_offset[pending.wait().value().offset()] = text;
        }
      });
    }
  }
  std::map<std::string, int> seen;
  for (const std::string& text : texts(route)) ++seen[text];
  EXPECT_EQ(seen.size(), by_offset.size());
  for (const std::string& text : by_offset) EXPECT_EQ(seen[text], 1) << text;
}

// --- Ends ---

TEST_F(DurableTopicsTest, close_delivers_what_was_taken_and_unbinds) {
  bind();
  auto route = subscribe();
  std::vector<PendingPublishReceipt> pending;
  for (int i = 0; i < 100; ++i) pending.push_back(topics->submit(message("done.a", std::to_string(i))).value());
  EXPECT_FALSE(topics->close());
  EXPECT_EQ(texts(route).size(), 100U);
  for (const auto& one : pending) EXPECT_TRUE(one.ready());
  EXPECT_EQ(topics->publish(message("done.a", "x")).error(), errc::closed);
  EXPECT_EQ(topics->submit(message("done.a", "x")).error(), errc::closed);
  EXPECT_EQ(topics->publish(message("token", "x")).error(), errc::closed);
  EXPECT_TRUE(router->publish(message("done.a", "x")));
  EXPECT_FALSE(topics->close()) << "any number of times";
  topics.reset();
  log.reset();
  EXPECT_EQ(pending.back().wait()->offset(), 99U) << "a receipt may outlive all";
}

TEST_F(DurableTopicsTest, close_waits_for_a_commit_that_is_under_way) {
  bind({.table = {{"done.>"}}, .undelivered_bytes = 1});
  auto route = subscribe();
  gate.set(true);
  const auto pending = topics->submit(message("done.a", "x"));
  gate.await_one();
  std::jthread closes([&] { EXPECT_FALSE(topics->close()); });
  while (topics->submit(message("done.a", "y")).error() != errc::closed) std::this_thread::yield();
  gate.set(false);
  closes.join();
  EXPECT_TRUE(pending->ready());
  EXPECT_EQ(texts(route), std::vector<std::string>{"x"});
}

TEST_F(DurableTopicsTest, close_until_gives_up_waiting_and_may_be_called_again) {
  bind();
  auto route = subscribe();
  gate.set(true);
  const auto pending = topics->submit(message("done.a", "x"));
  EXPECT_EQ(topics->close_until(past), errc::timed_out);
  EXPECT_EQ(topics->publish(message("done.a", "y")).error(), errc::closed) << "it takes nothing more";
  EXPECT_EQ(router->publish(message("done.a", "y")).error(), errc::topic_durable) << "and is bound yet";
  gate.set(false);
  EXPECT_FALSE(topics->close_until(far));
  EXPECT_TRUE(pending->ready());
  EXPECT_EQ(texts(route), std::vector<std::string>{"x"});
}

TEST_F(DurableTopicsTest, close_ends_a_wait_for_room) {
  bind({.table = {{"done.>"}}, .undelivered_bytes = 1});
  gate.set(true);
  ASSERT_TRUE(topics->submit(message("done.a", "x")));
  std::jthread waits([&] { EXPECT_EQ(topics->publish_until(message("done.a", "y"), far).error(), errc::closed); });
  EXPECT_EQ(topics->close_until(past), errc::timed_out);
  waits.join();
}

TEST_F(DurableTopicsTest, a_receipt_says_that_the_router_was_gone_when_the_message_was_durable) {
  bind();
  auto route = subscribe();
  gate.set(true);
  const auto pending = topics->submit(message("done.a", "x"));
  gate.await_one();
  router.reset();
  gate.set(false);
  const auto receipt = pending->wait();
  ASSERT_TRUE(receipt) << "it is durable";
  EXPECT_EQ(receipt->offset(), 0U);
  EXPECT_EQ(receipt->delivery().error(), errc::closed);
  EXPECT_EQ(topics->stats().undeliverable, 1U);
  EXPECT_EQ(logged().size(), 1U);
}

TEST_F(DurableTopicsTest, what_was_committed_and_not_delivered_is_found_by_groups_and_told_to_nobody_else) {
  bind();
  {
    HeldDelivery held(hub);
    ASSERT_TRUE(topics->submit(message("done.a", "0")));
    held.reached.wait();
    ASSERT_TRUE(topics->submit(message("done.a", "1")));
    while (log->next_offset() != 2) std::this_thread::yield();
    disk.kill();  // the process ends here, as far as the disk can tell
    held.go_on.count_down();
    topics.reset();
  }
  open_log();
  router.reset();
  Bus next;
  router.emplace(next);
  auto route = subscribe();
  bind();
  const auto receipt = topics->publish(message("done.a", "2"));
  ASSERT_TRUE(receipt);
  EXPECT_EQ(receipt->offset(), 2U);
  EXPECT_EQ(texts(route), std::vector<std::string>{"2"});
  Group group = Group::open(*log, {.name = "g", .start = GroupStart::oldest}).value();
  Member member = group.join().value();
  auto received = member.try_receive(16).value();
  std::vector<std::string> read;
  for (Lease& lease : received.leases) {
    read.emplace_back(lease.record().text());
    lease.ack();
  }
  EXPECT_EQ(read, (std::vector<std::string>{"0", "1", "2"}));
}

TEST_F(DurableTopicsTest, what_is_appended_to_the_log_by_itself_is_not_delivered) {
  bind();
  auto route = subscribe();
  ASSERT_TRUE(log->append({.topic = "done.a", .payload = as_payload("0")}));
  ASSERT_TRUE(topics->publish(message("done.a", "1")));
  EXPECT_EQ(texts(route), std::vector<std::string>{"1"});
}

// --- Binding ---

TEST_F(DurableTopicsTest, a_bus_with_amnesia_is_not_bound) {
  Bus forgetful{{.amnesia = true}};
  Router on{forgetful};
  try {
    const DurableTopics durable(on, *log, {.table = {{">"}}});
    FAIL() << "it was bound";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "the bus has amnesia: what it carries must not be written to a log");
  }
  EXPECT_TRUE(on.publish(message("done.a", "x"))) << "and nothing is refused for it";
}

TEST_F(DurableTopicsTest, refuses_impossible_options) {
  const auto refused = [&](DurableTopicsOptions options, std::string_view word) {
    try {
      const DurableTopics durable(*router, *log, std::move(options));
    } catch (const std::invalid_argument& error) {
      return std::string_view(error.what()).find(word) != std::string_view::npos;
    }
    return false;
  };
  EXPECT_TRUE(refused({}, "table is empty"));
  EXPECT_TRUE(refused({.table = {{">"}, {}}}, "without a pattern"));
  EXPECT_TRUE(refused({.table = {{">", static_cast<Durability>(9)}}}, "\">\""));
  EXPECT_TRUE(refused({.table = {{">", Durability::synced, static_cast<Delivery>(9)}}}, "\">\""));
  EXPECT_TRUE(refused({.table = {{">"}}, .undelivered_bytes = 0}, "undelivered_bytes"));
  EXPECT_FALSE(refused({.table = {{">"}}}, ""));
}

TEST_F(DurableTopicsTest, a_router_is_bound_once_at_a_time) {
  bind();
  EXPECT_THROW(DurableTopics(*router, *log, {.table = {{"other"}}}), std::invalid_argument);
  EXPECT_TRUE(router->publish(message("other", "x"))) << "the table that failed is not in force";
  EXPECT_FALSE(topics->close());
  bind({.table = {{"other"}}});
  EXPECT_EQ(router->publish(message("other", "x")).error(), errc::topic_durable);
  EXPECT_TRUE(router->publish(message("done.a", "x")));
}

TEST_F(DurableTopicsTest, logs_of_one_bus_are_told_apart_by_number) {
  bind();
  EXPECT_EQ(topics->number(), 1U);
  topics.reset();
  SimDisk second(2);
  {
    Log other = Log::open(second.mount(), small_log()).value();
    const DurableTopics durable(*router, other, {.table = {{">"}}});
    EXPECT_EQ(durable.number(), 2U);
  }
  bind();
  EXPECT_EQ(topics->number(), 1U);
}

}  // namespace
}  // namespace bus

// SPDX-License-Identifier: MIT OR Apache-2.0
#include "top.hpp"

#include "output.hpp"
#include "text.hpp"
#include "top_layout.hpp"
#include "top_model.hpp"
#include "top_screen.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace busbar {
namespace {

namespace asio = boost::asio;
using std::chrono::steady_clock;

constexpr std::size_t max_page_bytes = std::size_t{64} << 20;
constexpr ScreenSize paper{10'000, 100};  // what is printed has no end

asio::awaitable<Scrape> scrape(const TopOptions& options) {
  const std::string page = co_await http_get(options.address, options.timeout, max_page_bytes);
  const auto time = steady_clock::now();
  co_return Scrape{parse_exposition(page), time};
}

asio::awaitable<void> sleep_for(steady_clock::duration duration) {
  asio::steady_timer timer(co_await asio::this_coro::executor, duration);
  co_await timer.async_wait(asio::use_awaitable);
}

std::string in_seconds(std::chrono::milliseconds duration) {
  return as_duration(static_cast<std::uint64_t>(std::chrono::nanoseconds(duration).count()));
}

/// What is on the screen, and what changes it. All of it happens in one thread.
class Watch {
 public:
  explicit Watch(const TopOptions& options) : options_(options) {}

  void run() {
    start(look());
    start(obey_keys());
    start(obey_signals());
    io_.run();
    if (fault_) std::rethrow_exception(fault_);
  }

 private:
  void start(asio::awaitable<void> task) {
    asio::co_spawn(io_, std::move(task), [this](std::exception_ptr fault) {
      if (!fault) return;
      fault_ = fault;
      io_.stop();
    });
  }

  asio::awaitable<void> look() {
    for (;;) {
      if (!paused_) {
        co_await look_now();
        draw();
      }
      co_await sleep_for(options_.interval);
    }
  }

  /// A server that is gone may come back.
  asio::awaitable<void> look_now() {
    try {
      Scrape now = co_await scrape(options_);
      if (paused_) co_return;  // what was on the screen then stays
      view_ = top_view(last_ ? &*last_ : nullptr, now, options_.name_space);
      last_ = std::move(now);
      complaint_ = view_.is_empty() ? "No metrics of Busbar are on this page." : "";
      tries_ = 0;
    } catch (const std::runtime_error& error) {
      ++tries_;
      complaint_ = (tries_ == 1 ? std::string("No answer") : "No answer, " + with_separators(tries_) + " times") +
                   ": " + error.what() + ". It is tried again.";
      if (last_) complaint_ += " What is below is old.";
    }
  }

  asio::awaitable<void> obey_keys() {
    // Opened anew: Asio makes what it waits for non-blocking, and standard output must not become that with it.
    const int terminal = ::open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0) throw std::system_error(errno, std::generic_category(), "cannot open '/dev/tty'");
    asio::posix::stream_descriptor input(io_, terminal);
    for (;;) {
      co_await input.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
      bool any = false;
      while (const auto key = screen_.key()) {
        any = true;
        if (*key == TopKey::quit) co_return io_.stop();
        obey(*key);
      }
      if (!any && is_at_end()) co_return io_.stop();
      draw();
    }
  }

  /// Whether the terminal is gone: it can be read, and there is nothing.
  static bool is_at_end() {
    int bytes = 0;
    return ::ioctl(STDIN_FILENO, FIONREAD, &bytes) != 0 || bytes == 0;
  }

  void obey(TopKey key) {
    using enum TopMove;
    switch (key) {
      case TopKey::pause: paused_ = !paused_; break;
      case TopKey::next_table: position_ = moved(position_, next_table, view_); break;
      case TopKey::previous_table: position_ = moved(position_, previous_table, view_); break;
      case TopKey::up: position_ = moved(position_, up, view_); break;
      case TopKey::down: position_ = moved(position_, down, view_); break;
      case TopKey::page_up: position_ = moved(position_, page_up, view_); break;
      case TopKey::page_down: position_ = moved(position_, page_down, view_); break;
      case TopKey::quit:
      case TopKey::other: break;
    }
  }

  asio::awaitable<void> obey_signals() {
    asio::signal_set signals(io_, SIGINT, SIGTERM, SIGWINCH);
    while (co_await signals.async_wait(asio::use_awaitable) == SIGWINCH) {
      screen_.fit();
      draw();
    }
    io_.stop();
  }

  void draw() {
    TopStatus status{.address = options_.address.text(),
                     .right = paused_ ? "PAUSED" : "every " + in_seconds(options_.interval),
                     .complaint = complaint_,
                     .keys = "q quit  p pause  Tab table  Up/Down/PgUp/PgDn rows"};
    if (!last_ && complaint_.empty()) status.right = "asking ...";
    const TopPage page = lay_out(view_, status, screen_.size(), position_);
    position_ = page.position;
    screen_.draw(page.lines);
  }

  const TopOptions& options_;
  TopScreen screen_;
  asio::io_context io_{1};
  std::optional<Scrape> last_;
  TopView view_;
  TopPosition position_;
  bool paused_ = false;
  std::string complaint_;
  std::uint64_t tries_ = 0;  // in vain, since the last answer
  std::exception_ptr fault_;
};

asio::awaitable<TopView> look_twice(const TopOptions& options) {
  const Scrape before = co_await scrape(options);
  co_await sleep_for(options.interval);
  const Scrape now = co_await scrape(options);
  co_return top_view(&before, now, options.name_space);
}

}  // namespace

Exit watch(const TopOptions& options) {
  Watch(options).run();
  return success;
}

Exit look_once(const TopOptions& options) {
  asio::io_context io(1);
  const std::string address = options.address.text();
  TopView view;
  std::exception_ptr fault;
  asio::co_spawn(io, look_twice(options), [&](std::exception_ptr error, TopView seen) {
    fault = error;
    view = std::move(seen);
  });
  io.run();
  try {
    if (fault) std::rethrow_exception(fault);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error("cannot read '" + address + "': " + error.what());
  }
  if (view.is_empty()) throw std::runtime_error("no metrics of Busbar are on '" + address + "'");
  if (options.json) {
    print(as_json(view, address));
  } else {
    const TopStatus status{
        .address = address, .right = "in " + in_seconds(options.interval), .complaint = {}, .keys = {}};
    print(as_text(lay_out(view, status, paper).lines));
  }
  flush();
  return view.damaged_lines == 0 ? success : incomplete;
}

}  // namespace busbar

// SPDX-License-Identifier: MIT OR Apache-2.0
#include "serve.hpp"

#include "event_reader.hpp"
#include "hang_ups.hpp"
#include "host.hpp"
#include "host_report.hpp"
#include "http_server.hpp"
#include "input.hpp"
#include "output.hpp"
#include "vitals.hpp"

#include <bus/config/load.hpp>
#include <bus/metrics/prometheus.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <signal.h>
#include <unistd.h>

namespace busbar {
namespace {

/// Nothing, if it has errors; they are told.
std::optional<bus::Config> load(const std::string& file) {
  bus::ConfigResult loaded = bus::load_config(file, bus::process_environment());
  if (loaded) return std::move(loaded->config);
  for (const bus::ConfigError& error : loaded.error()) std::fprintf(stderr, "%s\n", to_string(error).c_str());
  return std::nullopt;
}

/// The server of metrics and health; none, if the configuration does not say where.
std::unique_ptr<HttpServer> serve_metrics(const bus::MetricsConfig& config, const bus::Metrics& metrics,
                                          const Vitals& vitals) {
  if (!config.listen_port) return nullptr;
  HttpServer::Pages pages;
  pages["/metrics"] = [&metrics, &vitals] {
    if (!vitals.is_open()) return vitals.readiness();  // an empty page would look like a host with nothing in it
    return HttpPage{.type = std::string(bus::Metrics::content_type), .body = metrics.render()};
  };
  pages["/healthz"] = [&vitals] { return vitals.health(); };
  pages["/readyz"] = [&vitals] { return vitals.readiness(); };
  return std::make_unique<HttpServer>(config.listen_address, *config.listen_port, std::move(pages));
}

/// Reads the configuration again. One with errors changes nothing.
void reload(Host& host, const std::string& file) noexcept try {
  const std::optional<bus::Config> wanted = load(file);
  if (!wanted) return remark("the configuration has errors and was not reloaded");
  const bus::ConfigChange change = host.reload(*wanted);
  for (const auto& one : change.live) remark("changed: " + one.key + " = " + one.after);
  for (const auto& one : change.restart) remark("needs a restart: " + one.key);
  remark("reloaded");
} catch (const std::exception& error) {
  remark(std::string("not reloaded: ") + error.what());
}

/// The input, open.
class Source {
 public:
  /// Errors: throws std::system_error naming the file.
  explicit Source(const bus::ServeConfig& config) : input_(config.input) {
    if (input_ == bus::Input::file) file_.emplace(config.file.string());
    if (input_ == bus::Input::follow) followed_.emplace(config.file.string());
  }

  bool is_there() const noexcept { return input_ != bus::Input::none; }

  LineReader lines(const Interrupt& interrupt, std::size_t max_line_bytes) {
    if (followed_) return {*followed_, interrupt, max_line_bytes};
    return {file_ ? file_->descriptor() : STDIN_FILENO, interrupt, max_line_bytes};
  }

 private:
  const bus::Input input_;
  std::optional<File> file_;
  std::optional<FollowedFile> followed_;
};

/// Returns: how many lines were skipped.
std::uint64_t publish_all(Source& source, std::size_t max_payload_bytes, Host& host, const Interrupt& interrupt) {
  EventReader events(source.lines(interrupt, EventReader::max_line_bytes(max_payload_bytes)), max_payload_bytes,
                     remark);
  while (const auto message = events.next([&] { host.settle(interrupt); })) host.publish(*message, interrupt);
  events.finish();
  return events.skipped();
}

/// Returns: how many lines were skipped, when it is time to end.
std::uint64_t run(const bus::Config& config, bool stay, Source& source, Host& host, const Interrupt& interrupt) {
  std::uint64_t skipped_lines = 0;
  if (source.is_there()) skipped_lines = publish_all(source, config.bus.max_payload_bytes, host, interrupt);
  if (source.is_there() && !stay) return skipped_lines;
  while (!interrupt.wait_until(std::chrono::steady_clock::now() + std::chrono::hours(24))) {
  }
  return skipped_lines;
}

/// What the host left behind tells more than what came out of it.
Exit status_of(const HostReport& report, std::uint64_t skipped_lines) {
  const auto failed = [](const HostReport::Log& log) { return !log.fault.empty(); };
  const auto lost = [](const HostReport::Log& log) { return log.lost_records != 0; };
  if (std::ranges::any_of(report.logs, failed)) return failure;
  const bool is_whole = report.complete && report.refused.empty() && report.unsettled == 0 && report.undelivered == 0 &&
                        skipped_lines == 0;
  return is_whole && std::ranges::none_of(report.logs, lost) ? success : incomplete;
}

/// Prints the report; where nobody takes it, standard error has it. Returns: whether it was printed.
bool tell(const std::string& report) {
  constexpr auto patience = std::chrono::seconds(1);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  if (print_while(report, [deadline] { return std::chrono::steady_clock::now() < deadline; })) return true;
  remark("standard output has no room for the report");
  write_error(report);
  return false;
}

}  // namespace

Exit serve(const ServeOptions& options) {
  const std::optional<bus::Config> config = load(options.file);
  if (!config) return failure;

  const HangUps hang_ups;
  const Interrupt interrupt;
  signal(SIGPIPE, SIG_IGN);  // who no longer reads what is printed does not end the host, nor hold it up
  set_remark_patience(std::chrono::seconds(1));

  Vitals vitals;
  bus::Metrics metrics(config->metrics.options);
  const std::unique_ptr<HttpServer> server = serve_metrics(config->metrics, metrics, vitals);
  Source source(config->serve);
  Host host(*config, metrics, vitals);
  vitals.set_ready();
  remark(server ? "ready; http://" + server->address() + "/metrics" : "ready");

  std::uint64_t skipped_lines = 0;
  {
    const OnHangUp reloading(hang_ups, [&host, &options] { reload(host, options.file); });
    skipped_lines = run(*config, options.stay, source, host, interrupt);
  }
  const HostReport report = host.drain();
  const Exit status = status_of(report, skipped_lines);
  const bool is_told = tell(options.json ? as_json(report, skipped_lines) : as_table(report, skipped_lines));
  return is_told || status != success ? status : incomplete;
}

}  // namespace busbar

// SPDX-License-Identifier: MIT OR Apache-2.0
#include "log_writer.hpp"

#include "log_losses.hpp"
#include "output.hpp"
#include "text.hpp"

#include <stdexcept>
#include <utility>
#include <vector>

namespace busbar {

OpenLog open_to_write(const std::string& directory, const bus::LogOptions& options) {
  auto log = bus::Log::open(directory, options);
  if (!log) throw_error("cannot open the log in", directory, log.error());
  bus::LossReport found = log->losses();
  std::erase_if(found.losses, [](const bus::LogLoss& loss) { return loss.known; });
  const bool is_missing = is_missing_any(found);
  if (is_missing) {
    remark("missing from the log: " + counted(found.records(), "record") + "; see `busbar log scrub`");
  }
  if (log->read_only()) {
    throw std::runtime_error("the log takes nothing before what is missing is accepted; see `busbar log repair`");
  }
  return {std::move(*log), is_missing};
}

Exit close(OpenLog& open, const std::string& directory, Exit status) {
  const bus::error_code error = open.log.close();
  if (error && status != failure) throw_error("cannot close the log in", directory, error);
  return status == success && open.is_missing ? incomplete : status;
}

}  // namespace busbar

// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

namespace busbar {

/// What the command says to whoever started it.
enum Exit : int {
  success = 0,
  failure = 1,
  wrong_usage = 2,
  incomplete = 3,  ///< it is done, but lines were skipped or records are missing
};

}  // namespace busbar

# SPDX-License-Identifier: MIT OR Apache-2.0
#
# What the scripts share: where the tree is, and running things quietly unless they fail. To be sourced.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# run_logged LOG COMMAND...: the command's output goes to LOG, and its end is shown if the command fails.
run_logged() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 </dev/null && return
  tail -n 100 "$log" >&2
  echo "failed: $*; all of its output is in $log" >&2
  return 1
}

# build PRESET [TARGET]: configures if that is due, and builds the target or else everything.
# In CI warnings are errors.
build() {
  local preset=$1 directory=$root/build/$1 strict=OFF
  [[ -z ${CI:-} ]] || strict=ON
  if [[ ! -f $directory/build.ninja || $root/CMakePresets.json -nt $directory/build.ninja || $strict == ON ]]; then
    run_logged "$directory/configure.log" cmake -S "$root" --preset "$preset" -D BUSBAR_WERROR=$strict
  fi
  echo "building; its output is in $directory/build.log" >&2
  run_logged "$directory/build.log" cmake --build "$directory" --target "${2:-all}"
}

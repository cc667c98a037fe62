#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Runs commands in interleaved rounds and appends what they print, each JSON line with its round, to OUT.
#
#   benchmarks/rounds.sh OUT.jsonl ROUNDS COMMAND...
#   benchmarks/rounds.sh out.jsonl 5 'build/benchmarks/bus_bench --json' '/path/to/a/peer --json'
#
# Each COMMAND is one argument and is run by the shell. Every other round runs them in reverse, so that none has always
# the same neighbour. Rounds are numbered on from those already in OUT. A command that fails is reported, the rest goes
# on, and the exit status is 1.
set -eu
if [ $# -lt 3 ]; then
  sed -n '4,11s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
out=$1 rounds=$2
shift 2
touch "$out"
last=$(sed -n 's/.*"round":\([0-9]*\).*/\1/p' "$out" | sort -n | tail -n 1)
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
trap 'exit 130' INT TERM

failed=0
run() {
  sh -c "$2" >"$lines" || { echo "rounds.sh: failed in round $1: $2" >&2; failed=1; }
  sed -n 's/^{\(.*\)}$/{"round":'"$1"',\1}/p' "$lines" >>"$out"
}

round=${last:-0}
end=$((round + rounds))
while [ "$round" -lt "$end" ]; do
  round=$((round + 1))
  echo "round $round of $end" >&2
  if [ $((round % 2)) -eq 1 ]; then
    for command in "$@"; do run "$round" "$command"; done
  else
    i=$#
    while [ "$i" -gt 0 ]; do
      eval "command=\${$i}"
      run "$round" "$command"
      i=$((i - 1))
    done
  fi
done
exit "$failed"

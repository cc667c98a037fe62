#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Plants bugs into a copy of the log's sources, each switched on by a number at run time.

    plant_bugs.py SOURCE_DIRECTORY OUTPUT_DIRECTORY

What a simulation that catches none of them would be worth is clear. Each bug names a piece of the sources that must
stand there exactly once, so that none goes stale unnoticed. `stmt` replaces statements, `expr` an expression.
"""
import pathlib
import sys

BUGS = [
    # What is durable.
    ("a sync is not done", "log_engine.cpp", "stmt", "  const error_code error = file_->sync();\n",
     "  const error_code error = PLANTED ? error_code() : file_->sync();\n"),
    ("a receipt is given before the sync", "log_core.cpp", "stmt",
     "    const error_code failed = engine_->sync();\n",
     "    const error_code failed = PLANTED ? error_code() : engine_->sync();\n"),
    ("another file is synced", "log_engine.cpp", "stmt", "  const error_code error = file_->sync();\n",
     "  const error_code error = PLANTED && hint_ ? hint_->sync() : file_->sync();\n"),
    ("the name of a new segment is not made durable", "segment_file.cpp", "stmt",
     "  if (const error_code error = storage.sync_names()) return error;\n  return file;\n",
     "  if (const error_code error = PLANTED ? error_code() : storage.sync_names()) return error;\n  return file;\n"),
    ("the name of a reused segment is not made durable", "spares.cpp", "stmt",
     "  if (const error_code error = storage.sync_names()) return error;\n  return std::move(*file);\n",
     "  if (const error_code error = PLANTED ? error_code() : storage.sync_names()) return error;\n"
     "  return std::move(*file);\n"),
    ("a new segment has its name before it is durable", "segment_file.cpp", "stmt",
     "  return file.sync();\n} catch", "  return PLANTED ? error_code() : file.sync();\n} catch"),
    ("a reused segment has its name before it is durable", "spares.cpp", "stmt",
     "  if (const error_code error = (*file)->sync()) return error;\n",
     "  if (const error_code error = PLANTED ? error_code() : (*file)->sync()) return error;\n"),
    ("a retired segment is overwritten before its name is durable", "segment_keeper.cpp", "stmt",
     "  if (const error_code error = storage_.sync_names()) return error;\n  return use_or_remove_retired();\n}\n\n"
     "error_code SegmentKeeper::retire(",
     "  if (const error_code error = PLANTED ? error_code() : storage_.sync_names()) return error;\n"
     "  return use_or_remove_retired();\n}\n\nerror_code SegmentKeeper::retire("),
    ("a name that may be durable is not taken away again when opening", "log_engine.cpp", "stmt",
     "    if (retired && !is_segment) {\n", "    if (retired && !is_segment && !PLANTED) {\n"),
    ("a segment is followed before it is durable", "log_engine.cpp", "stmt",
     "  if (durable_ != place_.position) {\n    if (const error_code error = sync_file()) return error;\n  }\n  show();\n",
     "  if (durable_ != place_.position && !PLANTED) {\n    if (const error_code error = sync_file()) return error;\n  }\n"
     "  show();\n  if (PLANTED) {\n    segment_->end.store(header_.mirror);\n    sealed_ = true;\n    return {};\n  }\n"),
    ("names are not made durable again when opening", "log_engine.cpp", "stmt",
     "  if (const error_code error = storage_.sync_names()) return error;\n  next_serial_ =",
     "  if (const error_code error = PLANTED ? error_code() : storage_.sync_names()) return error;\n  next_serial_ ="),
    ("names whose sync failed are not given again", "log_engine.cpp", "stmt",
     "  if (const error_code error = name_again(storage_, segment_name(last->name.base_offset, last->name.serial))) {\n",
     "  if (const error_code error = PLANTED ? error_code() : name_again(storage_, "
     "segment_name(last->name.base_offset, last->name.serial))) {\n"),
    ("an interval is never synced", "log_core.cpp", "stmt",
     "    must_sync = must_sync || unsynced >= options_.sync_every_bytes || (due != 0 && now >= due);\n",
     "    must_sync = must_sync || (!PLANTED && (unsynced >= options_.sync_every_bytes || (due != 0 && now >= due)));\n"),
    ("an explicit sync does nothing", "log_core.cpp", "stmt",
     "  must_sync = must_sync || (wanted > synced_.load(std::memory_order_relaxed) && wanted <= next_ticket_ + taken);\n",
     "  if (PLANTED && wanted <= next_ticket_ + taken) synced_.store(std::max(synced_.load(), wanted));\n"
     "  must_sync = must_sync || (wanted > synced_.load(std::memory_order_relaxed) && wanted <= next_ticket_ + taken);\n"),
    # Failures.
    ("a failed sync is tried again", "log_engine.cpp", "stmt", "  const error_code error = file_->sync();\n",
     "  error_code error = file_->sync();\n  if (PLANTED && error) error = file_->sync();\n"),
    ("a failed sync does not end the log", "log_engine.cpp", "stmt",
     "  const error_code error = sync_file();\n  read_only_ = error.failed();\n  return error;\n}\n",
     "  const error_code error = sync_file();\n  read_only_ = error.failed() && !PLANTED;\n  return error;\n}\n"),
    ("a failed write does not end the log", "log_engine.cpp", "stmt",
     "  const error_code error = write(entries, controls);\n  read_only_ = error.failed();\n",
     "  const error_code error = write(entries, controls);\n  read_only_ = error.failed() && !PLANTED;\n"),
    ("a part of a write is taken for all of it", "storage.cpp", "stmt",
     "    const auto written = file.write(position, std::span(group).first(count));\n",
     "    const auto written = file.write(position, std::span(group).first(count));\n"
     "    if (PLANTED && written.has_value()) return {};\n"),
    ("a part of a read is taken for all there is", "storage.cpp", "stmt",
     "    done += *got;\n  }\n  return done;\n", "    done += *got;\n    if (PLANTED) break;\n  }\n  return done;\n"),
    ("a full disk ends the log", "log_engine.cpp", "stmt",
     "      if (may_begin_again(error)) return error;\n",
     "      if (may_begin_again(error) && !PLANTED) return error;\n"),
    ("refused records keep their offsets", "outcomes.cpp", "stmt",
     "  if (ticket >= last.end) return Appended{base_offset_ + ticket - last.skipped_up_to_end()};\n",
     "  if (ticket >= last.end) return Appended{base_offset_ + ticket - (PLANTED ? 0 : last.skipped_up_to_end())};\n"),
    ("a refused record is told an offset", "log_core.cpp", "stmt", "  return outcomes_.of(ticket);\n}\n",
     "  const auto told = outcomes_.of(ticket);\n  return PLANTED && !told ? result<Appended>(Appended{0}) : told;\n}\n"),
    # What is sent twice.
    ("what is sent twice is written twice", "batch_judge.cpp", "stmt", "  if (dedup_ == nullptr) return true;\n",
     "  if (dedup_ == nullptr || PLANTED) return true;\n"),
    ("a duplicate is told the offset of another", "batch_judge.cpp", "stmt",
     "        if (answer.offset) place(*answer.offset, i);\n",
     "        if (answer.offset) place(*answer.offset + (PLANTED ? 1 : 0), i);\n"),
    ("what was refused is known", "batch_judge.cpp", "stmt",
     "  for (const std::uint64_t ticket : fresh_) dedup_->cancel(ticket);\n",
     "  for (const std::uint64_t ticket : fresh_) {\n    if (PLANTED) {\n      dedup_->commit(ticket, ticket);\n"
     "    } else {\n      dedup_->cancel(ticket);\n    }\n  }\n"),
    ("what was taken since the snapshot is not known again", "group_replay.cpp", "stmt",
     "    now_.dedup->restore(key, offset, written_ns_);\n",
     "    if (!PLANTED) now_.dedup->restore(key, offset, written_ns_);\n"),
    ("what the snapshot knows is not known again", "group_replay.cpp", "stmt",
     "    if (rules_ && !body.empty() && body.front() == Dedup::frame_kind) (void)messages_.add(body);\n",
     "    if (rules_ && !body.empty() && body.front() == Dedup::frame_kind && !PLANTED) (void)messages_.add(body);\n"),
    # Opening.
    ("what is not proven is not written again", "log_engine.cpp", "stmt",
     "  for (std::uint64_t at = state.proven; at < state.end;) {\n",
     "  for (std::uint64_t at = PLANTED ? state.end : state.proven; at < state.end;) {\n"),
    ("a torn tail is left as it is", "log_engine.cpp", "stmt",
     "  for (std::uint64_t at = state.end; at < blank_end;) {\n",
     "  for (std::uint64_t at = PLANTED ? blank_end : state.end; at < blank_end;) {\n"),
    ("a torn batch is not cut off", "recovery.cpp", "stmt", "      if (!ruling.cut) continue;\n",
     "      if (!ruling.cut || PLANTED) continue;\n"),
    ("no new mark follows a cut", "log_engine.cpp", "stmt", "  if (!news ||", "  if (!news || PLANTED ||"),
    ("verdicts are not kept", "recovery.cpp", "stmt",
     "        if (const auto note = decode_verdict(frame.body)) notes_.push_back(*note);\n",
     "        if (const auto note = decode_verdict(frame.body); note && !PLANTED) notes_.push_back(*note);\n"),
    ("a mark proves its own batch", "batch_encoder.cpp", "expr", "{.proven = proven,",
     "{.proven = PLANTED ? place_.position : proven,"),
    ("a mark proves what is only written", "log_engine.cpp", "stmt",
     "  if (const error_code error = write_batch(durable_, names, FrameKind::names)) return error;\n",
     "  if (const error_code error = write_batch(PLANTED ? place_.position : durable_, names, FrameKind::names)) "
     "return error;\n"),
    ("the end of the log is where the proven part ends", "recovery.cpp", "stmt",
     "    state_.proven = std::min(proven_, state_.end);\n",
     "    if (PLANTED && !state_.footer) state_.end = std::min(proven_, state_.end);\n"
     "    state_.proven = std::min(proven_, state_.end);\n"),
    ("a serial is given twice", "log_engine.cpp", "stmt", "  next_serial_ = last->name.serial + 1;\n",
     "  next_serial_ = last->name.serial + (PLANTED ? 0 : 1);\n"),
    # What is on the disk.
    ("the check of a body leaves its end out", "record_body.cpp", "stmt", "  return crc32c({out, size});\n",
     "  return crc32c({out, PLANTED && size > 8 ? size - 8 : size});\n"),
    ("bodies are not checked", "frame_scanner.cpp", "stmt",
     "  if (salted(crc32c(body), salt_) != head.body_check) return std::nullopt;\n",
     "  if (salted(crc32c(body), salt_) != head.body_check && !PLANTED) return std::nullopt;\n"),
    ("a head is genuine anywhere", "format.cpp", "expr", "head_bytes - 4, salt + position)",
     "head_bytes - 4, PLANTED ? salt : salt + position)"),
    ("names stand once", "log_engine.cpp", "stmt", "  if (!mirrored.empty()) {\n",
     "  if (!mirrored.empty() && !PLANTED) {\n"),
    ("one copy of the header is enough", "segment_file.cpp", "stmt",
     "  if (first || first.error() == errc::log_version_unsupported) return first;\n",
     "  if (first || PLANTED || first.error() == errc::log_version_unsupported) return first;\n"),
    ("a reused file keeps its salt", "spares.cpp", "stmt",
     "  header.salt = spare.filled ? spare.salt : storage.random();\n",
     "  header.salt = spare.filled || PLANTED ? spare.salt : storage.random();\n"),
    # Readers.
    ("readers see what is not committed", "log_core.cpp", "stmt",
     "  bool sync_later = wrote_items;\n",
     "  if (PLANTED && taken != 0 && !error) engine_->show();\n  bool sync_later = wrote_items;\n"),
    ("the index leads behind the record", "log_reader.cpp", "stmt",
     "    if (header_.base_offset + entry.number > next_) break;\n",
     "    if (header_.base_offset + entry.number > next_ + (PLANTED ? 3 : 0)) break;\n"),
    ("a gap is passed over in silence", "log_reader.cpp", "stmt",
     "  note_missing(next_, offset);\n  next_ = offset;\n",
     "  note_missing(next_, offset);\n  next_ = offset;\n  if (PLANTED) return std::nullopt;\n"),
    ("damage is not told", "loss_ledger.cpp", "stmt", "  losses_.insert(behind, loss);\n",
     "  if (!PLANTED) losses_.insert(behind, loss);\n"),
    ("the newest segment is dropped", "segment_list.hpp", "stmt",
     "    segments_.erase(segments_.begin());\n    return oldest;\n",
     "    segments_.erase(segments_.begin());\n    if (PLANTED) std::swap(oldest, segments_.front());\n    return oldest;\n"),
    ("a batch is written in another order", "log_core.cpp", "stmt",
     "    const error_code error = engine_->append(batch_, items_.batch());\n",
     "    if (PLANTED && batch_.size() > 1) std::swap(batch_.front(), batch_.back());\n"
     "    const error_code error = engine_->append(batch_, items_.batch());\n"),
]

# Caught by the simulation of groups.
GROUP_BUGS = [
    ("an ack is not written down", "queue_core.cpp", "stmt",
     "  const auto number = log_->post_items([&](GroupItems& items) { items.done(state_.spec.id, begin, end); });\n",
     "  if (PLANTED) return {};\n"
     "  const auto number = log_->post_items([&](GroupItems& items) { items.done(state_.spec.id, begin, end); });\n"),
    ("what groups did is not written", "item_queue.cpp", "stmt",
     "  for (const Frame& frame : batch_) controls_.push_back({.body = frame.items.bytes()});\n",
     "  for (const Frame& frame : batch_) {\n"
     "    if (!PLANTED) controls_.push_back({.body = frame.items.bytes()});\n  }\n"),
    ("a further attempt is not noted", "queue_core.cpp", "stmt",
     "    if (taken.attempt == 1 && taken.lease.offset >= may_have_been_out_) continue;\n",
     "    if (PLANTED || (taken.attempt == 1 && taken.lease.offset >= may_have_been_out_)) continue;\n"),
    ("a further attempt is made before it is durable", "queue_core.cpp", "stmt",
     "      if (!error && batch.items) error = waited.log->wait_items(*batch.items);\n",
     "      if (!error && batch.items && !PLANTED) error = waited.log->wait_items(*batch.items);\n"),
    ("that there are leases is not noted", "queue_core.cpp", "stmt",
     "  if (!batch.taken.empty() && !use_noted_) {\n", "  if (!batch.taken.empty() && !use_noted_ && !PLANTED) {\n"),
    ("a clean end hides what was out before it", "queue_core.cpp", "stmt",
     "    if (floor_locked() >= may_have_been_out_) {\n", "    if (PLANTED || floor_locked() >= may_have_been_out_) {\n"),
    ("a clean end does not say what is out", "queue_core.cpp", "stmt",
     "      if (owed.attempts == 0) return;\n", "      if (owed.attempts == 0 || PLANTED) return;\n"),
    ("a late outcome is taken", "lease_table.cpp", "expr",
     "e.token == lease.token && e.wakes_ns > now_ns", "e.token == lease.token && (PLANTED || e.wakes_ns > now_ns)"),
    ("an outcome of an earlier lease is taken", "lease_table.cpp", "expr",
     "e.state == State::leased && e.token == lease.token", "e.state == State::leased && (PLANTED || e.token == lease.token)"),
    ("a key's messages do not come back with the one in front", "lease_table.cpp", "stmt",
     "  while (other != none && entry(other).state == State::leased) {\n",
     "  while (other != none && entry(other).state == State::leased && !PLANTED) {\n"),
    ("a key is no reason to wait", "lease_table.cpp", "stmt",
     "  if (e.key == 0) {\n    make_ready(i);\n", "  if (e.key == 0 || PLANTED) {\n    make_ready(i);\n"),
    ("a message has no last attempt", "lease_table.cpp", "stmt",
     "  if (e.attempts >= rules_.attempts) {\n    hold_dead(i);\n",
     "  if (e.attempts >= rules_.attempts && !PLANTED) {\n    hold_dead(i);\n"),
    ("a lease that runs out does not count", "lease_table.cpp", "stmt",
     ".dead = e.attempts >= rules_.attempts, .due_ns = 0};\n",
     ".dead = e.attempts >= rules_.attempts, .due_ns = 0};\n    if (PLANTED) --e.attempts;\n"),
    ("a dead letter does not finish its message", "queue_dead.cpp", "expr",
     "burial.get(), settles);", "burial.get(), PLANTED ? std::optional<Settles>() : settles);"),
    ("that a dead letter finishes its message is forgotten", "group_replay.cpp", "stmt",
     "    if (fields->settles) {\n", "    if (fields->settles && !PLANTED) {\n"),
    ("a snapshot forgets what is open", "queue_core.cpp", "stmt",
     "  table_.for_each([&](const Owed& owed) { state.open[owed.offset] = progress_of(owed); });\n",
     "  if (!PLANTED) table_.for_each([&](const Owed& owed) { state.open[owed.offset] = progress_of(owed); });\n"),
    ("a footer does not say where groups stand", "log_engine.cpp", "expr",
     ".groups_serial = groups_.serial,", ".groups_serial = PLANTED ? 0 : groups_.serial,"),
    ("retention does not ask groups", "segment_keeper.cpp", "stmt",
     "  return owed && files_.segments", "  return !PLANTED && owed && files_.segments"),
    ("what is finished already is given", "queue_reading.cpp", "stmt",
     "  if (offset >= state_.next && state_.done.contains(offset)) {\n",
     "  if (!PLANTED && offset >= state_.next && state_.done.contains(offset)) {\n"),
    ("what is open is not read again", "queue_reading.cpp", "stmt",
     "  if (!state_.open.empty()) begin = std::min(begin, state_.open.begin()->first);\n",
     "  if (!state_.open.empty() && !PLANTED) begin = std::min(begin, state_.open.begin()->first);\n"),
    ("reading ahead passes one over", "queue_reading.cpp", "stmt",
     "      case ReadOutcome::record: add(reader_->record(), now); break;\n",
     "      case ReadOutcome::record:\n"
     "        if (!PLANTED || reader_->record().offset() % 16 != 7) add(reader_->record(), now);\n        break;\n"),
    ("items that were refused count as written", "item_queue.cpp", "stmt",
     "  if (batch_.empty()) return;\n",
     "  if (batch_.empty()) return;\n"
     "  if (PLANTED) written_ = batch_.back().last;\n"),
]
BUGS += GROUP_BUGS


def main() -> int:
    source, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    texts = {path.name: path.read_text() for path in sorted(source.glob("*.?pp"))}
    # A piece may carry several bugs: then each is planted into what the one before has left.
    wanted: dict[str, list[tuple[int, str, str]]] = {}
    for number, (_, file, _, original, mutant) in enumerate(BUGS, 1):
        if texts[file].count(original) != 1:
            print(f"{file}: not there exactly once, for bug {number}: {original!r}", file=sys.stderr)
            return 1
        wanted.setdefault(file, []).append((number, original, mutant))
    for file, bugs in wanted.items():
        text = texts[file]
        by_piece: dict[str, list[tuple[int, str]]] = {}
        for number, original, mutant in bugs:
            by_piece.setdefault(original, []).append((number, mutant))
        for original, mutants in by_piece.items():
            if len(mutants) == 1:
                number, mutant = mutants[0]
                new = mutant.replace("PLANTED", f"::bus::planted::is({number})")
            else:
                # The piece declares `error`: the first that is planted decides.
                new = "  error_code error;\n"
                for number, mutant in mutants:
                    body = mutant.replace("const error_code error =", "error =").replace("error_code error =", "error =")
                    new += (f"  if (::bus::planted::is({number})) {{\n"
                            + body.replace("PLANTED", f"::bus::planted::is({number})") + "  } else\n")
                new += "  {\n" + original.replace("const error_code error =", "error =") + "  }\n"
            text = text.replace(original, new)
        texts[file] = '#include "simulation/planted.hpp"\n' + text
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        path = out / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    subjects = ["simulate_log"] * (len(BUGS) - len(GROUP_BUGS)) + ["simulate_groups"] * len(GROUP_BUGS)
    lines = ",\n    ".join("{\"" + bug[0] + "\", " + subject + "}" for bug, subject in zip(BUGS, subjects))
    table = out / "planted_names.inc"
    if not table.exists() or table.read_text() != lines + "\n":
        table.write_text(lines + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The hard limits of the core. What an option may narrow further is said at the option.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bus::limits {

/// A ring of one slot could not tell "the newest" from "about to be overwritten".
inline constexpr std::uint64_t min_capacity = 2;
inline constexpr std::uint64_t max_capacity = 1'048'576;

inline constexpr std::size_t max_topic_bytes = 255;
inline constexpr std::size_t max_topic_segments = 20;
inline constexpr std::size_t max_principal_bytes = 128;

/// `Attributes::key`.
inline constexpr std::size_t max_key_bytes = 255;

/// Names of subscribers, observers and services: they become metric labels.
inline constexpr std::size_t max_name_bytes = 64;

/// The ceiling of `BusOptions::max_payload_bytes`, whose default is the second figure.
inline constexpr std::size_t max_payload_bytes = 16 * 1024 * 1024;
inline constexpr std::size_t default_max_payload_bytes = 1024 * 1024;

/// Distinct names of senders that one bus tells apart as `Event::source`; further ones are "other".
inline constexpr std::size_t max_source_names = 4096;

/// Distinct subscriber names whose totals outlive their receivers; further ones are summed as "other".
inline constexpr std::size_t max_accounted_names = 1024;

/// How deep publishes from inside observers may nest.
inline constexpr unsigned max_observer_depth = 16;

/// Nodes one ring can ever hold: the ring's own, retired ones, and those that users keep.
inline constexpr std::uint32_t max_nodes = (1U << 24) - 1;

static_assert(min_capacity >= 2 && max_capacity < max_nodes);
static_assert(default_max_payload_bytes <= max_payload_bytes);

}  // namespace bus::limits

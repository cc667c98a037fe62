#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Checks that what deploy/ names is there: metrics in docs/metrics.md, alerts in their tests and in the runbook."""

import collections
import re
import sys
import unittest

import yaml

import expressions
from expressions import ROOT


def documented():
    """The names of all series that docs/metrics.md lists."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+)", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    names = set()
    for name, kind in rows:
        names |= {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return names


class NamesTest(unittest.TestCase):
    def test_every_metric_is_documented_or_recorded(self):
        recorded = {rule["record"] for rule in expressions.rules() if "record" in rule}
        known = documented() | recorded | {"up"}
        for rule in expressions.rules():
            named = expressions.metrics_of(rule["expr"])
            self.assertTrue(named, rule)
            self.assertLessEqual(named, known, rule)
        for title, expression in expressions.panels():
            named = expressions.metrics_of(expression)
            self.assertTrue(named, title)
            self.assertLessEqual(named, known, title)

    def test_metrics_are_found_in_expressions(self):
        for expression, names in {
            'sum by (le, job) (rate(a_total{job="x"}[5m])) > 0.8 * b': {"a_total", "b"},
            "histogram_quantile(0.99, rate(c_bucket[5m]))": {"c_bucket"},
            "d > 0 unless d <= d offset 1d": {"d"},
            "sum (e) and l:m:ratio > 1e3": {"e", "l:m:ratio"},
        }.items():
            self.assertEqual(expressions.metrics_of(expression), names)

    def test_every_alert_is_tested_firing_and_not_firing(self):
        seen = collections.defaultdict(set)
        for test in yaml.safe_load((ROOT / "tests" / "deploy" / "rules_test.yaml").read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                seen[case["alertname"]].add(bool(case.get("exp_alerts")))
        self.assertEqual(dict(seen), {alert: {False, True} for alert in expressions.alerts()})

    def test_every_alert_has_its_place_in_the_runbook(self):
        page = (ROOT / "docs" / "operations.md").read_text()
        self.assertEqual(re.findall(r"^### (Busbar\w+)$", page, re.MULTILINE), expressions.alerts())

    def test_metrics_of_the_runbook_are_documented(self):
        page = (ROOT / "docs" / "operations.md").read_text()
        self.assertLessEqual(set(re.findall(r"\bbus_\w+", page)), documented())


if __name__ == "__main__":
    unittest.main(argv=sys.argv)

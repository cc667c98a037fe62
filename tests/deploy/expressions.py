# SPDX-License-Identifier: MIT OR Apache-2.0
"""The expressions of deploy/: those of the rules, and those of the dashboard's panels."""

import json
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "busbar.rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "busbar.json"


def rules():
    """Each as a dictionary with `record` or `alert`, and `expr`."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts():
    return [rule["alert"] for rule in rules() if "alert" in rule]


def panels():
    """Pairs of a panel's title and an expression, as Grafana sends it when all hosts are shown."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5m")


def metrics_of(expression):
    """The names of the metrics in an expression."""
    rest = re.sub(r'"[^"]*"', "", expression)
    rest = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", rest)
    rest = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", rest)
    words = re.findall(r"(?<![\w:.])[A-Za-z_:][\w:]*(?!\s*\()(?![\w:])", rest)
    return set(words) - {"and", "or", "unless", "offset"}

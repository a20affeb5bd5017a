"""Lets the tests run from a checkout that was installed before Penstock brought a pytest plugin."""

import importlib

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin("penstock"):
        config.pluginmanager.register(importlib.import_module("penstock.pytest_plugin"), "penstock")

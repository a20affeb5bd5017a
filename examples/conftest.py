"""Lets the tests run from a checkout that was installed before Penstock brought a pytest plugin."""

import importlib

import pytest


def pytest_configure(config: pytest.Config) -> None:
    plugin = importlib.import_module("penstock.pytest_plugin")
    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin, "penstock")

"""Entry point of setuptools. The configuration is in setup.cfg."""

from setuptools import setup

setup()

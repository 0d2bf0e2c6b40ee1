"""One probe per feature: it must work where the dialect declares the feature, and only there."""

from rxdb.testing.conformance import *  # noqa: F403 - as a package with a dialect writes it

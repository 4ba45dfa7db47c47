"""Hold the version, which is written here alone."""

VERSION = "0.1.0"

"""The version of this codevault; the build reads it from here."""

VERSION = "0.1.0"

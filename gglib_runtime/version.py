"""The version of this program, known without asking the package's metadata."""

VERSION = "0.1.0"

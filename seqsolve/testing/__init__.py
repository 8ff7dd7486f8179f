"""Tests for users and backend authors, shipped with the library."""

"""Benchmarks in the lab, each figure beside the same figure of the plain parts started by hand."""

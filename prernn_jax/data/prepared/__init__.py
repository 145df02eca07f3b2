"""Prepared data sets: lists of official files, record files, and their folders."""

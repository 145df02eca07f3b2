"""One table a network: how the names of other frameworks map to ours."""

"""The tables of the paper: their grids, their runs and what comes of them."""

"""Action data sets: UCF101, HMDB51 and the drawn ones, and their batches."""

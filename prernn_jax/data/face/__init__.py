"""Face data sets: 300VW and the drawn one, landmarks, batches and metrics."""

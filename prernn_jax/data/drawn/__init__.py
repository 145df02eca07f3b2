"""The embedded data: clips that this package draws by itself."""

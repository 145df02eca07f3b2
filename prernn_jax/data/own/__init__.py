"""A person's own videos as a data set: folders of classes, or lists."""

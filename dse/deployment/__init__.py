"""What a network takes on a device and over a link, from its exact costs."""

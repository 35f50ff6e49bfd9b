"""The classifier, its pretrained weights and the devices it runs on."""

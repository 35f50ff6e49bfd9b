"""The demo app: upload an image or a clip, see the faces and their P(FAKE) in a browser."""

"""One table of several models on several data sets, by set and by method of forgery."""

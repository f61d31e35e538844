"""Searching a finished study by drawing: its networks, reducers and distances applied to what a person brings.

Composes several rooms and so sits above them. `methods` says what there is to search by, `queries` makes pixels of
drawings and images, `engine` searches, `sheet` draws what was found, `server` is the page's other end, and
`python -m trazo.search` the command.
"""

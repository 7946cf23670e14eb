"""Models of the zoo whose trained weights come along, with their data, and the script that trains them again.

`README.md` says what they were trained on, and how good they are.
"""

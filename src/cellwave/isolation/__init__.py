"""What leaves its cell, or lets others in: rules over a stack's resources, as a preview plans them or a state has them.

`rules.findings` is the way in; decision 0081 says which rules there are. Pure.
"""

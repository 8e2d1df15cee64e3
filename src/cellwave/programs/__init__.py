"""Programs as their authors wrote them: Pulumi.yaml, settings of stacks, and packages of their own."""

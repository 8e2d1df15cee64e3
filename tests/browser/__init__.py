"""The browser that tests of pages drive."""

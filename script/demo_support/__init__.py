"""The program behind script/demo: examples/orders, run for real on a throwaway or a given database."""

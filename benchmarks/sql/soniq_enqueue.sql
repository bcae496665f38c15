select soniq.enqueue('noop', '{"number": 1}');

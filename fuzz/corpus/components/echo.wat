(component
  (core module $m (memory (export "memory") 1) (global $top (mut i32) (i32.const 64))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $top) (global.set $top (i32.add (global.get $top) (local.get 3))))
    (func (export "run") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16)))
  (core instance $i (instantiate $m))
  (func (export "run") (param "data" (list u8)) (result (list u8))
    (canon lift (core func $i "run") (memory $i "memory") (realloc (func $i "realloc")))))

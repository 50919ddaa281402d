;; A plugin that loads, needs nothing and traps at the first batch. Layouts follow
;; wit/v0.1/plugin.wit in the canonical ABI; unwritten memory is zero, which reads as empty text,
;; empty list, `none` and `ok`.
(module
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 4096))
  (data (i32.const 8) "trap1")
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  ;; about: name "trap", version "1"
  (func (export "strait:plugin/transform@0.1.0#describe") (result i32)
    (i32.store (i32.const 64) (i32.const 8)) (i32.store (i32.const 68) (i32.const 4))
    (i32.store (i32.const 72) (i32.const 12)) (i32.store (i32.const 76) (i32.const 1))
    (i32.const 64))
  (func (export "strait:plugin/transform@0.1.0#configure")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.const 256))
  ;; ok(topic-plan { name: none, needs: some(all empty) })
  (func (export "strait:plugin/transform@0.1.0#open-topic") (param i32 i32 i32) (result i32)
    (i32.store8 (i32.const 536) (i32.const 1))
    (i32.const 512))
  (func (export "strait:plugin/transform@0.1.0#process")
    (param i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32 i32) (result i32)
    unreachable))

;; A plugin that appends a header "version" to every record. @STAMP@ is one character, @INTERFACE@
;; the version of the interface, @CONFIGURE@ the result of configure. @TROUBLE@ runs in process
;; after $seen has grown by the records of the call; @SCHEMA@ is the schema of its configuration with
;; @SCHEMA_BYTES@ bytes, @PAGES@ the size of its memory, @PARTS@ what else belongs to the module.
;; Layouts follow wit/v0.1/plugin.wit in the canonical ABI; unwritten memory is zero, which reads as
;; empty text, empty list, `none` and `ok`.
(module
  (memory (export "memory") @PAGES@)
  (global $free (mut i32) (i32.const 1048576))
  (global $seen (mut i32) (i32.const 0))
  (data (i32.const 8) "stamp@STAMP@version@STAMP@")
  (data (i32.const 3145728) "@SCHEMA@")
  @PARTS@
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  ;; about: name "stamp", version, effects: headers
  (func (export "strait:plugin/transform@@INTERFACE@#describe") (result i32)
    (i32.store (i32.const 64) (i32.const 8)) (i32.store (i32.const 68) (i32.const 5))
    (i32.store (i32.const 72) (i32.const 13)) (i32.store (i32.const 76) (i32.const 1))
    (i32.store (i32.const 88) (i32.const 3145728)) (i32.store (i32.const 92) (i32.const @SCHEMA_BYTES@))
    (i32.store (i32.const 96) (i32.const 16))
    (i32.const 64))
  (func (export "strait:plugin/transform@@INTERFACE@#configure")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.store8 (i32.const 256) (i32.const @CONFIGURE@))
    (i32.const 256))
  ;; ok(topic-plan { name: none, needs: some(no columns, effects: headers) })
  (func (export "strait:plugin/transform@@INTERFACE@#open-topic") (param i32 i32 i32) (result i32)
    (i32.store8 (i32.const 536) (i32.const 1))
    (i32.store (i32.const 572) (i32.const 16))
    (i32.const 512))
  (func (export "strait:plugin/transform@@INTERFACE@#process")
    (param $topic i32) (param $topic_len i32) (param $partition i32) (param $count i32) (param $base i64)
    (param $mode i32) (param $origins i32) (param $origins_len i32) (param $columns i32) (param $columns_len i32)
    (param $data i32) (param $data_len i32) (result i32)
    (local $i i32) (local $op i32) (local $text i32)
    (global.set $seen (i32.add (global.get $seen) (local.get $count)))
    @TROUBLE@
    (local.set $op (i32.const 65536))
    (local.set $text (i32.const 524288))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
      ;; record i: append a header with a name of 7 bytes, name and value are 8 bytes
      (i32.store (local.get $op) (local.get $i))
      (i32.store offset=4 (local.get $op) (i32.const 7))
      (i32.store offset=8 (local.get $op) (i32.const 7))
      (i32.store offset=12 (local.get $op) (i32.const 8))
      (i64.store (local.get $text) (i64.load (i32.const 14)))
      (local.set $op (i32.add (local.get $op) (i32.const 16)))
      (local.set $text (i32.add (local.get $text) (i32.const 8)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (i32.store (i32.const 772) (i32.const 65536))
    (i32.store (i32.const 776) (i32.shl (local.get $count) (i32.const 2)))
    (i32.store (i32.const 780) (i32.const 524288))
    (i32.store (i32.const 784) (i32.shl (local.get $count) (i32.const 3)))
    (i32.const 768))
  (func (export "cabi_post_strait:plugin/transform@@INTERFACE@#process") (param i32)
    (global.set $free (i32.const 1048576))))

;; A plugin written by hand from the comments of wit/v0.1/plugin.wit, without an SDK.
;;
;; Of each record whose value holds `$.email` or, anywhere, `ssn`, it makes two: one with these fields masked and a header that
;; counts them, and one without them. A value that is no JSON document is rejected; a null value passes.
(module
  (memory (export "memory") 16)

  ;; What the host writes for us starts here and is forgotten after each call of process.
  (global $heap (mut i32) (i32.const 0x80000))
  ;; Where the next edit and its bytes go.
  (global $ops (mut i32) (i32.const 0))
  (global $bytes (mut i32) (i32.const 0))

  (data (i32.const 0x100) "hand-written")        ;; name
  (data (i32.const 0x110) "1.0.0")               ;; version
  (data (i32.const 0x120) "masks two fields")    ;; description
  (data (i32.const 0x140) "not-judged")          ;; reject code 0
  (data (i32.const 0x150) "$.email")
  (data (i32.const 0x158) "$..ssn")
  (data (i32.const 0x160) "\22***\22")           ;; JSON text
  (data (i32.const 0x170) "masked")              ;; header name

  ;; list<string> reject-codes
  (data (i32.const 0x200) "\40\01\00\00" "\0a\00\00\00")
  ;; about: name, version, description, config-schema (empty), effects 3 | 4 | 8 | 9, fails-closed, counters, reject-codes
  (data (i32.const 0x220)
    "\00\01\00\00" "\0c\00\00\00"
    "\10\01\00\00" "\05\00\00\00"
    "\20\01\00\00" "\10\00\00\00"
    "\00\00\00\00" "\00\00\00\00"
    "\18\03\00\00" "\00\00\00\00"
    "\00\00\00\00" "\00\00\00\00"
    "\00\02\00\00" "\01\00\00\00")
  ;; result of configure: ok
  (data (i32.const 0x260) "\00\00\00\00")
  ;; columns 7 and 8: the state of the value, and how often each field occurs
  (data (i32.const 0x280) "\07\00\00\00" "\08\00\00\00")
  ;; list<string> fields
  (data (i32.const 0x290) "\50\01\00\00" "\07\00\00\00" "\58\01\00\00" "\06\00\00\00")
  ;; result of open-topic: ok, no new name, needs; aligned to 8 because lookback holds an u64
  (data (i32.const 0x300)
    "\00\00\00\00" "\00\00\00\00"
    "\00\00\00\00" "\00\00\00\00" "\00\00\00\00" "\00\00\00\00"
    "\01\00\00\00" "\00\00\00\00"
    "\80\02\00\00" "\02\00\00\00"                ;; columns
    "\00\00\00\00" "\00\00\00\00"                ;; header-names
    "\00\00\00\00"                               ;; all-headers
    "\90\02\00\00" "\02\00\00\00"                ;; fields
    "\18\03\00\00"                               ;; effects
    "\00\00\00\00" "\00\00\00\00"                ;; output-topics
    "\00\00\00\00" "\00\00\00\00"                ;; value-max-bytes
    "\00\00\00\00" "\00\00\00\00" "\00\00\00\00" "\00\00\00\00" "\00\00\00\00" "\00\00\00\00")

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func (export "cabi_post_strait:plugin/transform@0.1.0#process") (param i32)
    (global.set $heap (i32.const 0x80000)))

  (func (export "strait:plugin/transform@0.1.0#describe") (result i32) (i32.const 0x220))
  (func (export "strait:plugin/transform@0.1.0#configure")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0x260))
  (func (export "strait:plugin/transform@0.1.0#open-topic") (param i32 i32 i32) (result i32) (i32.const 0x300))

  ;; Appends an edit: four numbers.
  (func $edit (param $record i32) (param $op i32) (param $arg i32) (param $len i32)
    (i32.store (global.get $ops) (local.get $record))
    (i32.store offset=4 (global.get $ops) (local.get $op))
    (i32.store offset=8 (global.get $ops) (local.get $arg))
    (i32.store offset=12 (global.get $ops) (local.get $len))
    (global.set $ops (i32.add (global.get $ops) (i32.const 16))))
  ;; Appends bytes of an edit.
  (func $put (param $at i32) (param $len i32)
    (memory.copy (global.get $bytes) (local.get $at) (local.get $len))
    (global.set $bytes (i32.add (global.get $bytes) (local.get $len))))

  ;; A record with fields: masked, counted, emitted; then, from the original again, without them.
  (func $both (param $record i32) (param $occurrences i32)
    (local $o i32)
    (loop $mask
      (call $edit (local.get $record) (i32.const 3) (local.get $o) (i32.const 5))
      (call $put (i32.const 0x160) (i32.const 5))
      (local.set $o (i32.add (local.get $o) (i32.const 1)))
      (br_if $mask (i32.lt_u (local.get $o) (local.get $occurrences))))
    (call $edit (local.get $record) (i32.const 7) (i32.const 6) (i32.const 7))
    (call $put (i32.const 0x170) (i32.const 6))
    (i32.store8 (global.get $bytes) (i32.add (i32.const 48) (local.get $occurrences)))
    (global.set $bytes (i32.add (global.get $bytes) (i32.const 1)))
    (call $edit (local.get $record) (i32.const 14) (i32.const 0) (i32.const 0))
    (local.set $o (i32.const 0))
    (loop $remove
      (call $edit (local.get $record) (i32.const 3) (local.get $o) (i32.const -1))
      (local.set $o (i32.add (local.get $o) (i32.const 1)))
      (br_if $remove (i32.lt_u (local.get $o) (local.get $occurrences)))))

  (func (export "strait:plugin/transform@0.1.0#process")
    (param $topic i32) (param $topic_len i32) (param $partition i32) (param $count i32) (param $base i64)
    (param $mode i32) (param $origins i32) (param $origins_len i32) (param $columns i32) (param $columns_len i32)
    (param $data i32) (param $data_len i32) (result i32)
    (local $states i32) (local $counts i32) (local $record i32) (local $state i32) (local $occurrences i32)
    ;; columns: (7, start, length) (8, start, length)
    (local.set $states (i32.add (local.get $data) (i32.load offset=4 (local.get $columns))))
    (local.set $counts (i32.add (local.get $data) (i32.load offset=16 (local.get $columns))))
    (global.set $ops (i32.const 0x10000))
    (global.set $bytes (i32.const 0x40000))
    (loop $records
      (local.set $state (i32.load8_u (i32.add (local.get $states) (local.get $record))))
      ;; Two counts for each record: [record * 2 + field].
      (local.set $occurrences (i32.add
        (i32.load (i32.add (local.get $counts) (i32.shl (local.get $record) (i32.const 3))))
        (i32.load offset=4 (i32.add (local.get $counts) (i32.shl (local.get $record) (i32.const 3))))))
      (if (local.get $occurrences) (then (call $both (local.get $record) (local.get $occurrences))))
      (if (i32.gt_u (local.get $state) (i32.const 1)) (then
        (call $edit (local.get $record) (i32.const 13) (i32.const 0) (i32.const 10))
        (call $put (i32.const 0x140) (i32.const 10))))
      (local.set $record (i32.add (local.get $record) (i32.const 1)))
      (br_if $records (i32.lt_u (local.get $record) (local.get $count))))
    ;; result: ok, ops (a list of numbers, so its length is in numbers), data
    (i32.store (i32.const 0x400) (i32.const 0))
    (i32.store (i32.const 0x404) (i32.const 0x10000))
    (i32.store (i32.const 0x408) (i32.shr_u (i32.sub (global.get $ops) (i32.const 0x10000)) (i32.const 2)))
    (i32.store (i32.const 0x40c) (i32.const 0x40000))
    (i32.store (i32.const 0x410) (i32.sub (global.get $bytes) (i32.const 0x40000)))
    (i32.const 0x400)))

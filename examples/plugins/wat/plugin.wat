;; Drops test orders, redacts the customer's e-mail, routes by region. Written by hand, from the
;; comments of plugin.wit.
;;
;; A core module that exports the functions of strait:plugin/transform by the canonical ABI; the
;; host turns it into a component. It takes no configuration, and its memory is laid out below.
;; Records without an edit pass.
(module
  (memory (export "memory") 2)

  ;; --- texts ---
  (data (i32.const 1024) "by-hand")
  (data (i32.const 1040) "0.1.0")
  (data (i32.const 1056) "Drops test orders, redacts the customer's e-mail, routes by region")
  (data (i32.const 1136) "{\"type\":\"object\",\"additionalProperties\":false}")
  (data (i32.const 1280) "$.customer.email")
  (data (i32.const 1296) "$.region")
  (data (i32.const 1312) "orders-eu")
  (data (i32.const 1328) "orders-us")
  (data (i32.const 1344) "\"***\"")
  (data (i32.const 1352) "\"eu\"")
  (data (i32.const 1360) "\"us\"")
  (data (i32.const 1376) "test-")
  (data (i32.const 1384) "orders")

  ;; --- results; a text or list is an address and a length ---
  ;; about: name, version, description, config-schema, effects (drop, field, topic), fails-closed,
  ;; reject-codes, options
  (data (i32.const 1408) "\00\04\00\00\07\00\00\00\10\04\00\00\05\00\00\00"
    "\20\04\00\00\42\00\00\00\70\04\00\00\2e\00\00\00"
    "\49\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00"
    "\00\00\00\00\00\00\00\00")
  ;; columns: key lengths, keys, occurrences of fields, their lengths, their JSON text
  (data (i32.const 1472) "\03\00\00\00\04\00\00\00\08\00\00\00\09\00\00\00"
    "\0a\00\00\00")
  ;; fields, then output topics
  (data (i32.const 1504) "\00\05\00\00\10\00\00\00\10\05\00\00\08\00\00\00")
  (data (i32.const 1520) "\20\05\00\00\09\00\00\00\30\05\00\00\09\00\00\00")
  ;; result<topic-plan>: ok; no name; needs: columns, no headers, fields, effects, output topics;
  ;; no options
  (data (i32.const 1536) "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00"
    "\00\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00"
    "\c0\05\00\00\05\00\00\00\00\00\00\00\00\00\00\00"
    "\00\00\00\00\e0\05\00\00\02\00\00\00\49\00\00\00"
    "\f0\05\00\00\02\00\00\00\00\00\00\00\00\00\00\00"
    "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00"
    "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
  ;; 1648: a plan without needs, 112 zeros; 1760: the result of configure, ok; 1784: the result of
  ;; process

  ;; --- memory for the host's arguments and for edits: grows upwards, reset after each call ---
  (global $heap (mut i32) (i32.const 4096))
  (func $realloc (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (block $enough
      (br_if $enough (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
      ;; Grows by the missing pages; if that fails, the call traps.
      (br_if $enough (i32.ne (i32.const -1) (memory.grow
        (i32.sub (i32.shr_u (i32.add (global.get $heap) (i32.const 65535)) (i32.const 16)) (memory.size)))))
      unreachable)
    (memory.copy (local.get $at) (local.get $old) (local.get $old_len))
    (local.get $at))
  (func $release (param i32) (global.set $heap (i32.const 4096)))
  (export "cabi_post_strait:plugin/transform@0.2.0#describe" (func $release))
  (export "cabi_post_strait:plugin/transform@0.2.0#configure" (func $release))
  (export "cabi_post_strait:plugin/transform@0.2.0#open-topic" (func $release))
  (export "cabi_post_strait:plugin/transform@0.2.0#process" (func $release))

  (func (export "strait:plugin/transform@0.2.0#describe") (result i32) (i32.const 1408))
  (func (export "strait:plugin/transform@0.2.0#configure")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 1760))
  (func (export "strait:plugin/transform@0.2.0#open-topic") (param $topic i32) (param $len i32) (param i32 i32 i32) (result i32)
    (if (result i32) (call $starts (local.get $topic) (local.get $len) (i32.const 1384) (i32.const 6))
      (then (i32.const 1536))
      (else (i32.const 1648))))

  ;; Returns whether bytes start with a prefix. A null has the length -1 and no prefix.
  (func $starts (param $at i32) (param $len i32) (param $prefix i32) (param $prefix_len i32) (result i32)
    (if (i32.lt_s (local.get $len) (local.get $prefix_len)) (then (return (i32.const 0))))
    (loop $next
      (if (i32.eqz (local.get $prefix_len)) (then (return (i32.const 1))))
      (local.set $prefix_len (i32.sub (local.get $prefix_len) (i32.const 1)))
      (br_if $next (i32.eq
        (i32.load8_u (i32.add (local.get $at) (local.get $prefix_len)))
        (i32.load8_u (i32.add (local.get $prefix) (local.get $prefix_len))))))
    (i32.const 0))
  ;; Returns whether two byte strings are equal.
  (func $same (param $at i32) (param $len i32) (param $other i32) (param $other_len i32) (result i32)
    (i32.and
      (i32.eq (local.get $len) (local.get $other_len))
      (call $starts (local.get $at) (local.get $len) (local.get $other) (local.get $other_len))))

  ;; Addresses of the next edit and of its bytes.
  (global $ops (mut i32) (i32.const 0))
  (global $out (mut i32) (i32.const 0))
  (func $edit (param $record i32) (param $op i32) (param $arg i32) (param $at i32) (param $len i32)
    (i32.store (global.get $ops) (local.get $record))
    (i32.store offset=4 (global.get $ops) (local.get $op))
    (i32.store offset=8 (global.get $ops) (local.get $arg))
    (i32.store offset=12 (global.get $ops) (local.get $len))
    (global.set $ops (i32.add (global.get $ops) (i32.const 16)))
    (memory.copy (global.get $out) (local.get $at) (local.get $len))
    (global.set $out (i32.add (global.get $out) (local.get $len))))

  (func (export "strait:plugin/transform@0.2.0#process")
    (param $topic i32) (param $topic_len i32) (param $partition i32) (param $count i32) (param $base i64) (param $mode i32)
    (param $options i32) (param $options_len i32) (param $origins i32) (param $origins_len i32) (param $columns i32) (param $columns_len i32)
    (param $data i32) (param $data_len i32) (result i32)
    (local $record i32) (local $ops i32) (local $out i32)
    (local $key_lens i32) (local $key i32) (local $key_len i32)
    (local $counts i32) (local $field_lens i32) (local $field i32) (local $drop i32) (local $nth i32) (local $left i32)
    ;; The directory lists the columns in the order of the plan: number, start and length of each.
    (local.set $key_lens (i32.add (local.get $data) (i32.load offset=4 (local.get $columns))))
    (local.set $key (i32.add (local.get $data) (i32.load offset=16 (local.get $columns))))
    (local.set $counts (i32.add (local.get $data) (i32.load offset=28 (local.get $columns))))
    (local.set $field_lens (i32.add (local.get $data) (i32.load offset=40 (local.get $columns))))
    (local.set $field (i32.add (local.get $data) (i32.load offset=52 (local.get $columns))))
    ;; At most one edit per occurrence of a field, or one drop per record, of at most 9 bytes each.
    (local.set $left (i32.add (local.get $count) (i32.shr_u (i32.load offset=44 (local.get $columns)) (i32.const 2))))
    (local.set $ops (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.shl (local.get $left) (i32.const 4))))
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.mul (local.get $left) (i32.const 9))))
    (global.set $ops (local.get $ops))
    (global.set $out (local.get $out))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $record) (local.get $count)))
        (local.set $key_len (i32.load (local.get $key_lens)))
        (local.set $drop (call $starts (local.get $key) (local.get $key_len) (i32.const 1376) (i32.const 5)))
        (if (local.get $drop)
          (then (call $edit (local.get $record) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
        (if (i32.gt_s (local.get $key_len) (i32.const 0))
          (then (local.set $key (i32.add (local.get $key) (local.get $key_len)))))
        (local.set $key_lens (i32.add (local.get $key_lens) (i32.const 4)))
        ;; Field 0, the e-mail: each occurrence becomes "***". Counted from 0 in each record.
        (local.set $nth (i32.const 0))
        (local.set $left (i32.load (local.get $counts)))
        (block $no_more
          (loop $email
            (br_if $no_more (i32.eqz (local.get $left)))
            (if (i32.eqz (local.get $drop))
              (then (call $edit (local.get $record) (i32.const 3) (local.get $nth) (i32.const 1344) (i32.const 5))))
            (local.set $field (i32.add (local.get $field) (i32.load (local.get $field_lens))))
            (local.set $field_lens (i32.add (local.get $field_lens) (i32.const 4)))
            (local.set $nth (i32.add (local.get $nth) (i32.const 1)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $email)))
        ;; Field 1, the region: JSON text, with its quotes.
        (local.set $left (i32.load offset=4 (local.get $counts)))
        (block $no_more
          (loop $region
            (br_if $no_more (i32.eqz (local.get $left)))
            (if (i32.eqz (local.get $drop))
              (then
                (if (call $same (local.get $field) (i32.load (local.get $field_lens)) (i32.const 1352) (i32.const 4))
                  (then (call $edit (local.get $record) (i32.const 10) (i32.const 0) (i32.const 1312) (i32.const 9))))
                (if (call $same (local.get $field) (i32.load (local.get $field_lens)) (i32.const 1360) (i32.const 4))
                  (then (call $edit (local.get $record) (i32.const 10) (i32.const 0) (i32.const 1328) (i32.const 9))))))
            (local.set $field (i32.add (local.get $field) (i32.load (local.get $field_lens))))
            (local.set $field_lens (i32.add (local.get $field_lens) (i32.const 4)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $region)))
        (local.set $counts (i32.add (local.get $counts) (i32.const 8)))
        (local.set $record (i32.add (local.get $record) (i32.const 1)))
        (br $next)))
    ;; ok; ops: address, number of integers; data: address, length
    (i32.store (i32.const 1784) (i32.const 0))
    (i32.store (i32.const 1788) (local.get $ops))
    (i32.store (i32.const 1792) (i32.shr_u (i32.sub (global.get $ops) (local.get $ops)) (i32.const 2)))
    (i32.store (i32.const 1796) (local.get $out))
    (i32.store (i32.const 1800) (i32.sub (global.get $out) (local.get $out)))
    (i32.const 1784))
)

meta:
  id: catalogue_body
  title: The plain text of CATALOGUE
  endian: le
  imports: [catalogue_entry, document, varint]
seq:
  - id: seq_number
    type: u8
  - id: chain
    size: 32
  - id: durable_lsn
    type: u8
  - id: num_pools
    type: varint
  - id: pools
    type: catalogue_entry
    repeat: expr
    repeat-expr: num_pools.value
  - id: num_documents
    type: varint
  - id: documents
    type: document
    repeat: expr
    repeat-expr: num_documents.value

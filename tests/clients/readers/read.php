<?php
// Reads a result archive: php read.php phar|gzdecode FILE
//
// "phar" is PHP's own reader, "gzdecode" walks through the blocks of the tar itself.
// Prints how many files and results there are, the sum of status codes, and the operation_ids.

declare(strict_types=1);

error_reporting(E_ALL);
set_error_handler(function (int $level, string $message): never {
    throw new ErrorException($message, 0, $level);
});

[, $way, $file] = $argv;
$seen = ['files' => 0, 'results' => 0, 'status_sum' => 0];
$ids = [];
foreach ($way === 'phar' ? readWithPhar($file) : walk($file) as $text) {
    $seen['files'] += 1;
    foreach (json_decode($text, true, 512, JSON_THROW_ON_ERROR) as $result) {
        if (!is_array(json_decode($result['response'], true, 512, JSON_THROW_ON_ERROR))) {
            throw new UnexpectedValueException($result['response']);
        }
        $seen['results'] += 1;
        $seen['status_sum'] += $result['status_code'];
        $ids[json_encode($result['operation_id'])] = $result['operation_id'];
    }
}
echo json_encode($seen + ['operation_ids' => array_values($ids)], JSON_THROW_ON_ERROR);

function readWithPhar(string $file): iterable
{
    foreach (new RecursiveIteratorIterator(new PharData($file)) as $entry) {
        yield $entry->getContent();
    }
}

function walk(string $file): iterable
{
    $tar = gzdecode(file_get_contents($file));
    $at = 0;
    while ($tar[$at] !== "\0") {
        $size = octdec(rtrim(substr($tar, $at + 124, 12), "\0 "));
        if ($tar[$at + 156] !== '0') {
            throw new UnexpectedValueException('An entry of type ' . $tar[$at + 156]);
        }
        yield substr($tar, $at + 512, $size);
        $at += 512 + intdiv($size + 511, 512) * 512;
    }
}

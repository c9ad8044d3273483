<?php
/* Writes tables with hashes of one password that WordPress and MediaWiki have made, each by its own code:
 * php hashes.php FOLDER PASSWORD WORDPRESS MEDIAWIKI */

[, $folder, $password, $wordpress, $mediawiki] = $argv;

// Of a plugin that hashes in another way; there is none.
function apply_filters(string $name, mixed $value): mixed
{
    return $value;
}

function write_table(string $path, array $columns, array $rows): void
{
    $file = fopen($path, 'w');
    foreach ([$columns, ...$rows] as $row) {
        fputcsv($file, $row);
    }
    fclose($file);
}

define('ABSPATH', "$wordpress/");
define('WPINC', 'wp-includes');
require ABSPATH . WPINC . '/version.php';
require ABSPATH . WPINC . '/pluggable.php';
$hashes = ["wordpress-$wp_version" => wp_hash_password($password)];
if (!str_starts_with($hashes["wordpress-$wp_version"], '$wp$')) {
    // This one is older than 6.8, which has the same over PHP's own functions.
    $hmac = base64_encode(hash_hmac('sha384', $password, 'wp-sha384', true));
    $hashes['wordpress-since-6.8'] = '$wp' . password_hash($hmac, PASSWORD_BCRYPT);
}
$rows = [];
foreach ($hashes as $name => $hash) {
    $rows[] = [2000 + count($rows), $name, "$name@example.com", $hash];
}
write_table("$folder/wordpress.csv", ['ID', 'user_login', 'user_email', 'user_pass'], $rows);

foreach (['Password', 'ParameterizedPassword', 'Pbkdf2Password', 'PasswordFactory'] as $class) {
    require "$mediawiki/includes/password/$class.php";
}
// As $wgPasswordConfig has it by default.
$pbkdf2 = ['class' => 'Pbkdf2Password', 'algo' => 'sha512', 'cost' => '30000', 'length' => '64'];
$factory = new PasswordFactory(['pbkdf2' => $pbkdf2], 'pbkdf2');
$hash = $factory->newFromPlaintext($password)->toString();
write_table("$folder/mediawiki.csv", ['email', 'password'], [['mediawiki@example.com', $hash]]);
